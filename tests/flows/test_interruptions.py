"""Runs that are killed, interrupted, terminated: nothing is left behind, and the next run goes on from there."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workspaces import PATIENCE_S, Done, Workspace, ask, done, wait_for

from flows.server import running_url
from rnnpipe.config import load_config
from rnnpipe.files import read_json, sha256_file
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.references import StageRef
from rnnpipe.store import MANIFEST, Store
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import epochs_of, final_events, read_journal
from rnnpipe.training.supervise import train_supervised

EPOCHS = 12
INTERRUPTED_EPOCHS = 60
TO_STOP_S = 20.0  # after Ctrl-C, on a slow machine that is busy; a checkpoint is there a second before
VARIANTS = [{"name": "gru", "hidden_size": 16, "num_layers": 1}, {"name": "single-neuron"}]
LABELS = ["gru-16x1 s0", "single-neuron s0"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace without a kept server, in which nothing lives after the test."""
    own = Workspace(tmp_path)
    yield own
    for process in own.processes():
        stop_process(process)


def config_of(own: Workspace, name: str = "long", epochs: int = EPOCHS) -> Path:
    training = {"epochs": epochs, "batch_size": 8, "learning_rate": 0.003, "preflight": False}
    apart = {"registry": {"register_model": False}, "tracking": {"experiment": name}}
    return own.config(name, variants=VARIANTS, training=training, **apart)


def epochs_done(own: Workspace) -> list[int]:
    """Return how many epochs each training has behind it that isn't finished."""
    folders = [folder for folder in own.home.glob("store/trainings/*/") if not (folder / MANIFEST).exists()]
    return [len(epochs_of(read_journal(folder))) for folder in folders]


def start_and_send(own: Workspace, config: Path, number: signal.Signals) -> tuple[Done, float]:
    """Start a run and send it a signal once each of two trainings is past its second epoch.

    Returns how it ended, and how many seconds later.
    """
    with own.start("run", config) as process:
        wait_for(lambda: process.poll() is not None or [done >= 2 for done in epochs_done(own)] == [True, True])
        process.send_signal(number)
        sent = time.monotonic()
        return done(process), time.monotonic() - sent


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_download_is_stopped_with_the_run(own: Workspace, number: signal.Signals, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = own.config("silent", data={"name": "mnist", "mirrors": [address]})
        with own.start("run", config) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(number)
                sent = time.monotonic()
                ended = done(process)
    assert ended.code == code, ended
    assert time.monotonic() - sent < TO_STOP_S
    assert "Traceback" not in ended.err
    wait_for(lambda: not own.processes())
    if number != signal.SIGKILL:
        assert not list(own.home.glob("downloads/mnist/.*")), "something half-written is left"


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


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_and_ends_as_if_undisturbed(own: Workspace, tmp_path: Path) -> None:
    config = config_of(own)
    killed, _ = start_and_send(own, config, signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    wait_for(lambda: not own.processes(), timeout_s=20)
    assert not own.manifests("trainings")

    whole = own.rnnpipe("run", config)
    assert whole.code == 0, whole.err
    assert not own.processes()
    for label in LABELS:  # it went on after the second epoch at least
        assert f"{label}  epoch {EPOCHS}," in whole.out
    for folder in own.home.glob("store/trainings/*/"):
        assert [event["epoch"] for event in epochs_of(read_journal(folder))] == list(range(1, EPOCHS + 1))
    assert weights_of(own) == undisturbed_weights(own, tmp_path / "undisturbed")
    assert statuses(own, "long") == dict.fromkeys(LABELS, "FINISHED")


@pytest.mark.usefixtures("first_run")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_ends_cleanly_and_goes_on(
    workspace: Workspace, call: Callable[..., Done], number: signal.Signals, code: int
) -> None:
    before, earlier = {process.pid for process in workspace.processes()}, set(workspace.manifests("trainings"))
    name = f"interrupted-{code}"
    config = config_of(workspace, name, epochs=INTERRUPTED_EPOCHS + code % 2)  # not the same training twice
    ended, took_s = start_and_send(workspace, config, number)
    assert ended.code == code, ended.err
    assert "interrupted; what was finished is kept" in ended.err and "Traceback" not in ended.err
    assert took_s < TO_STOP_S and {process.pid for process in workspace.processes()} == before
    (latest,) = ask(str(running_url(workspace.home)), "flow_runs/filter", sort="START_TIME_DESC", limit=1)
    assert latest["name"] == f"{name} digits-rows" and latest["state"]["type"] == "CRASHED"
    stopped = [folder for folder in workspace.home.glob("store/trainings/*/") if not (folder / MANIFEST).exists()]
    assert [final_events(read_journal(folder))[-1]["event"] for folder in stopped] == ["checkpoint"] * 2
    assert statuses(workspace, name) == dict.fromkeys(LABELS, "KILLED")
    of_the_run = {"flow_runs": {"id": {"any_": [latest["id"]]}}}
    tasks = ask(str(running_url(workspace.home)), "task_runs/filter", **of_the_run)
    assert {task["state"]["type"] for task in tasks if task["name"].startswith("train ")} == {"CRASHED"}

    whole = call("run", config)
    assert whole.code == 0, whole.err
    assert all(f"{label}  goes on after step " in whole.out for label in LABELS)
    assert set(workspace.manifests("trainings")) - earlier == {folder / MANIFEST for folder in stopped}
    assert statuses(workspace, name) == dict.fromkeys(LABELS, "FINISHED")


def statuses(own: Workspace, experiment: str) -> dict[str, str]:
    """Return the state of each run in MLflow by name; no name may be there twice."""
    tracking = open_tracking(sqlite_uri(own.home / "mlflow.db"), experiment, own.home)
    runs = tracking.client.search_runs([tracking.experiment_id])
    found = {run.info.run_name: run.info.status for run in runs}
    assert len(found) == len(runs)
    return found
