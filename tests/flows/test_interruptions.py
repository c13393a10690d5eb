"""Runs that are killed, interrupted, terminated: nothing is left behind, and the next run goes on from there."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace, done, wait_for

from rnnpipe.config import load_config
from rnnpipe.files import read_json, sha256_file
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.references import StageRef
from rnnpipe.store import Store
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import epochs_of, read_journal
from rnnpipe.training.supervise import train_supervised

EPOCHS = 60
VARIANTS = [{"name": "gru", "hidden_size": 16, "num_layers": 1}, {"name": "single-neuron"}]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace without a kept server, in which nothing lives after the test."""
    own = Workspace(tmp_path)
    yield own
    for process in own.processes():
        stop_process(process)


def config_of(own: Workspace) -> Path:
    training = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.003, "preflight": False}
    return own.config("long", variants=VARIANTS, training=training, registry={"register_model": False})


def epochs_done(own: Workspace) -> list[int]:
    """Return how many epochs each training's journal has."""
    return [len(epochs_of(read_journal(folder))) for folder in own.home.glob("store/trainings/*/")]


def start_and_send(own: Workspace, number: signal.Signals, epochs: int) -> Any:
    """Start a run and send it a signal once every training has so many epochs behind it."""
    with own.start("run", config_of(own)) as process:
        wait_for(
            lambda: (
                process.poll() is not None
                or ((found := epochs_done(own))
                and len(found) == 2
                and min(found) >= epochs)
            )
        )
        assert process.poll() is None, done(process)
        process.send_signal(number)
        return done(process)


def weights_of(own: Workspace) -> dict[str, str]:
    """Return the SHA-256 of each training's weights."""
    folders = own.home.glob("store/trainings/*/")
    return {folder.name: sha256_file(folder / "weights.safetensors") for folder in folders}


def undisturbed_weights(own: Workspace, folder: Path) -> dict[str, str]:
    """Train everything again, in one go and into another store."""
    config, store = load_config(config_of(own)), Store(folder)
    (path,) = own.home.glob("store/sequences/*/")
    manifest = read_json(path / "manifest.json")
    sequences = StageRef(**{name: manifest[name] for name in StageRef.model_fields})
    weights = {}
    with Launcher() as launcher:
        for number, variant in enumerate(config.variants):
            recipe = training_recipe(sequences, config, variant, 0)
            job = {"config": config, "sequences_folder": path, "variant": number, "seed": 0}
            entry = train_supervised(
                launcher, store, recipe, job=job, run="undisturbed", on_events=lambda folder, events: None
            )
            weights[recipe.key] = sha256_file(entry.path / "weights.safetensors")
    return weights


def test_a_killed_run_leaves_nothing_and_ends_as_if_undisturbed(own: Workspace, tmp_path: Path) -> None:
    killed = start_and_send(own, signal.SIGKILL, epochs=2)
    assert killed.code == -signal.SIGKILL
    wait_for(lambda: not own.processes(), timeout_s=20)
    assert not own.manifests("trainings")

    before = min(epochs_done(own))
    interrupted = start_and_send(own, signal.SIGINT, epochs=before + 2)
    assert interrupted.code == 130, interrupted.err
    assert "interrupted; what was finished is kept" in interrupted.err and "Traceback" not in interrupted.err
    assert not own.processes()

    reached = min(epochs_done(own))
    assert reached >= before + 2
    whole = own.rnnpipe("run", config_of(own))
    assert whole.code == 0, whole.err
    told = [line for line in whole.out.splitlines() if line.startswith("gru-16x1 s0  epoch ")]
    assert not told or f"epoch {EPOCHS}," in told[-1]
    assert weights_of(own) == undisturbed_weights(own, tmp_path / "undisturbed")
    assert not own.processes()
    tracking = open_tracking(sqlite_uri(own.home / "mlflow.db"), "digits-rows", own.home)
    runs = tracking.client.search_runs([tracking.experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in runs) == [
        ("gru-16x1 s0", "FINISHED"),
        ("single-neuron s0", "FINISHED"),
    ]


@pytest.mark.slow
def test_a_terminated_run_ends_cleanly(own: Workspace) -> None:
    terminated = start_and_send(own, signal.SIGTERM, epochs=1)
    assert terminated.code == 143, terminated.err
    assert "Traceback" not in terminated.err
    assert not own.processes()
