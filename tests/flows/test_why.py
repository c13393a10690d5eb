"""Why a stage would run or be skipped: the reasons, and that a run gives the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspaces import TINY, TINY_LABELS, Done, Workspace, store_data

from flows.why import forecast
from rnnpipe.config import PipelineConfig
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.references import StageRef
from rnnpipe.store import Store
from rnnpipe.training import job
from rnnpipe.training.job import training_recipe

ONE: dict[str, Any] = {**TINY, "variants": [{"name": "gru", "hidden_size": 8, "num_layers": 1}]}
LABEL = "gru-8x1 s0"


def config(**sections: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({**ONE, **sections})


def told(wanted: PipelineConfig, store: Store) -> dict[str, str]:
    return {stage.name: stage.sentence for stage in forecast(wanted, store)}


def write_weights(folder: Path) -> dict[str, Any]:
    (folder / "weights").write_bytes(b"weights")
    return {}


def prepare(store: Store) -> tuple[StageRef, StageRef]:
    """Store dataset and sequences of the config; return their references."""
    dataset, sequences = store_data(store, config(), "ab12")
    return dataset.ref, sequences.ref


@pytest.fixture
def stored(tmp_path: Path) -> Store:
    """A store that holds all stages of the config: real data, and what counts as a model and its evaluation."""
    store, wanted = Store(tmp_path / "store"), config()
    _, sequences = prepare(store)
    training = store.ensure(training_recipe(sequences, wanted, wanted.variants[0], 0), write_weights, "ab12").ref
    recipe = evaluation_recipe(training.digest, sequences, wanted.evaluation, wanted.execution, subject=LABEL)
    store.ensure(recipe, write_weights, "ab12")
    return store


def test_of_an_empty_store_every_stage_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    assert told(config(), Store(tmp_path / "store")) == {
        "dataset digits": "would run: nothing like it is stored yet",
        "sequences rows": "would run: after dataset digits",
        LABEL: "would run: after sequences rows",
        f"test {LABEL}": f"would run: after {LABEL}",
    }
    assert not list(tmp_path.iterdir())


def test_all_that_is_stored_is_skipped(stored: Store) -> None:
    assert told(config(), stored) == {
        "dataset digits": "skipped: same two inputs as run ab12",
        "sequences rows": "skipped: same four inputs as run ab12",
        LABEL: "skipped: same seven inputs as run ab12",
        f"test {LABEL}": "skipped: same six inputs as run ab12",
    }


def test_a_changed_field_is_named_and_what_comes_after_may_come_out_as_before(stored: Store) -> None:
    changed = told(config(training={**TINY["training"], "learning_rate": 0.02}), stored)
    assert changed["sequences rows"].startswith("skipped: ")
    assert changed[LABEL] == "would run: training.learning_rate 0.01 → 0.02"
    assert changed[f"test {LABEL}"] == f"would run: after {LABEL}, unless that comes out as before"
    earlier = told(config(data={**TINY["data"], "limit": 200}), stored)
    assert earlier["sequences rows"] == "would run: data.limit 300 → 200"
    assert earlier[LABEL] == "would run: after sequences rows, unless that comes out as before"


def test_changed_code_is_named_with_its_package(stored: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest_of_tree = job.sha256_tree
    before = digest_of_tree(job.PACKAGE / "training")[:8]
    monkeypatch.setattr(
        job,
        "sha256_tree",
        lambda path, *what: "ab" * 32 if path.name == "training" else digest_of_tree(path, *what),
    )
    assert told(config(), stored)[LABEL] == (
        f"would run: code of rnnpipe.training changed (revision {before} → abababab)"
    )


def test_a_run_tells_the_same_sentences(workspace: Workspace, first_run: Done, call: Callable[..., Done]) -> None:
    again = ("--set", "registry.register_model=false")
    foreseen = call("why", workspace.config(), *again)
    assert foreseen.code == 0, foreseen.err
    lines = foreseen.out.splitlines()
    assert len(lines) == 2 + 2 * len(TINY_LABELS) and all("  skipped: same " in line for line in lines)
    done = call("run", workspace.config(), *again)
    assert set(lines) <= set(done.out.splitlines()), done.out + done.err


def test_a_config_that_is_wrong_is_told_in_words(call: Callable[..., Done], workspace: Workspace) -> None:
    done = call("why", workspace.config(), "--set", "training.epochs=0")
    assert done.code == 2 and "training.epochs" in done.err and "Traceback" not in done.err
