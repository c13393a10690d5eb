"""Runs and their models by what people call them, as far as the workspace keeps them: MLflow isn't asked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rnnpipe.config import load_config
from rnnpipe.errors import ConfigError, DataError
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.standing import Standing
from rnnpipe.reporting.comparison import Side
from rnnpipe.reporting.facts import RunFacts, Trained, kept_facts, newest_facts, read_facts
from rnnpipe.store import Store

PIPELINE_RUN = re.compile("[0-9a-f]{8}")
CONFIG_SUFFIXES = (".yaml", ".yml")


def find_kept(workspace: Path, text: str) -> RunFacts | None:
    """Return what is kept of the run that a text names, or of the last run of a config's file.

    None for any other text, and for a run that isn't kept here; ConfigError for a config that never ran here.
    """
    if PIPELINE_RUN.fullmatch(text):
        return read_facts(workspace, text)
    if not text.endswith(CONFIG_SUFFIXES):
        return None
    config = load_config(Path(text))
    found = _last(workspace, lambda facts: facts.config == config) or _last(
        workspace, lambda facts: (facts.config.name, facts.config.task) == (config.name, config.task)
    )  # --set may have changed a field
    if found is None:
        raise ConfigError(f"no run of {text} is kept in this workspace", f"rnnpipe run {text}")
    return found


def _last(workspace: Path, is_meant: Callable[[RunFacts], bool]) -> RunFacts | None:
    """Return the newest of the runs that are meant, without reading much older ones; None where there is none."""
    found = next(filter(is_meant, newest_facts(workspace)), None)
    # an older run may have been written later, when MLflow was told of it
    newer = filter(is_meant, kept_facts(workspace, found.at_ms)) if found else iter(())
    return next(newer, found)


def kept_side(workspace: Path, text: str) -> Side | None:
    """Return the best model of the run that a text names; None where `find_kept` finds none."""
    facts = find_kept(workspace, text)
    return side_of(workspace, facts, facts.best, f"run {facts.run}") if facts else None


def trained_by(workspace: Path, training_key: str) -> tuple[RunFacts, Trained] | None:
    """Return a training by its key, with the run that has it and was written last; None where none is kept."""
    for facts in newest_facts(workspace):
        for trained in facts.trained:
            if trained.training.key == training_key:
                return facts, trained
    return None


def side_of(workspace: Path, facts: RunFacts, trained: Trained, name: str) -> Side:
    """Return a model of a run as one side of a comparison; DataError where the store has its answers no more."""
    assert trained.evaluation is not None
    try:
        folder = Store(workspace / "store").resolve(trained.evaluation).path
    except FileNotFoundError:
        raise DataError(
            f"the answers of {name}, {trained.label}, aren't in the store any more",
            "run its config again: what is missing is made anew",
        ) from None
    return Side(
        name=f"{name}, {trained.label}",
        standing=Standing.read(name, folder),
        images=facts.dataset.digest,
        params=without_label(facts.config.params_of(trained.variant, trained.seed)),
        report=EvaluationReport.read(folder),
    )


def without_label(params: dict[str, Any]) -> dict[str, Any]:
    """Leave out the variant's label, whose parts are fields of their own."""
    return {name: value for name, value in params.items() if name != "variant"}
