"""What a sweep has found, as it is kept in the workspace and shown: values and figures, no data."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from rnnpipe.config import PipelineConfig
from rnnpipe.files import digest_of, read_json, write_json
from rnnpipe.references import Recipe, Reference

SWEEPS = "sweeps"  # the folder of the workspace with a folder a sweep
FACTS_FILE, PAGE_FILE, BEST_FILE, FIGURES = "sweep.json", "report.html", "best.yaml", "figures"
FREE = {"trials", "parallel"}  # of SweepConfig: what a sweep may go on with

State = Literal["complete", "pruned", "failed", "running"]


class TrialFacts(Reference):
    """A trial: what it set, by path, and what came out.

    `accuracy` is the validation accuracy of the best epoch, the mean over the seeds, and of a pruned trial the one
    after the epoch at which it was stopped; None for a failed trial. `epochs` are those that all seeds have made,
    `trainings` the keys of its trainings, one a seed, `ended_at_ms` is in ms since 1970.
    """

    number: int
    state: State
    values: dict[str, Any]
    accuracy: float | None = None
    epochs: int = 0
    trainings: tuple[str, ...] = ()
    error: str = ""
    ended_at_ms: int | None = None


class SweepFacts(Reference):
    """A sweep: its name in Optuna's storage, the config it tunes, its trials, how much each field mattered.

    `importance` has by path the share of the variance of the accuracy that the field alone explains; it is empty
    where there are too few finished trials to tell. `validated` is the number of validation images.
    """

    name: str
    config: PipelineConfig
    validated: int
    trials: tuple[TrialFacts, ...]
    importance: dict[str, float] = Field(default_factory=dict)

    @property
    def best(self) -> TrialFacts | None:
        """The finished trial with the best accuracy, the first of several; None where none has finished."""
        finished = [each for each in self.trials if each.state == "complete" and each.accuracy is not None]
        return max(finished, key=lambda each: (each.accuracy or 0.0, -each.number), default=None)

    @property
    def ranked(self) -> list[TrialFacts]:
        """The trials, the best first: finished ones, then those that were stopped, then those that failed."""
        order = ("complete", "pruned", "running", "failed")
        places = {each.number: (order.index(each.state), -(each.accuracy or 0.0)) for each in self.trials}
        return sorted(self.trials, key=lambda each: (*places[each.number], each.number))

    @property
    def paths(self) -> list[str]:
        """The fields that were tuned."""
        return list(self.config.sweep.parameters) if self.config.sweep else []

    @property
    def counts(self) -> str:
        """How many trials there are of each state, in words."""
        states = [each.state for each in self.trials]
        told = [f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed") if state in states]
        return f"{len(states)} trials: {', '.join(told) or 'none has ended'}"


def sweep_name(config: PipelineConfig, first: Recipe) -> str:
    """Return a sweep's name: its config's, and the digest of all that its trials have in common.

    `first` is the recipe of the training that the config itself describes: data, settings, code. So what can't be
    compared with the trials so far belongs to another sweep; with more trials a sweep goes on.
    """
    assert config.sweep is not None
    asked = config.sweep.model_dump(mode="json", exclude=FREE)
    shared = {"training": first.inputs, "seeds": list(config.seeds), "sweep": asked}
    return f"{config.name}-{digest_of(shared)[:8]}"


def sweep_folder(workspace: Path, name: str) -> Path:
    """Return the folder of what is kept of a sweep."""
    return workspace / SWEEPS / name


def keep_sweep(workspace: Path, facts: SweepFacts) -> None:
    """Write what a sweep has found; later facts replace earlier ones."""
    write_json(sweep_folder(workspace, facts.name) / FACTS_FILE, facts.model_dump(mode="json"))


def kept_sweep(workspace: Path, name: str) -> SweepFacts | None:
    """Return what is kept of a sweep; None where none of that name is."""
    path = sweep_folder(workspace, name) / FACTS_FILE
    if Path(name).name != name or not path.is_file():
        return None
    return SweepFacts.model_validate(read_json(path))
