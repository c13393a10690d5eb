"""Services that can't be reached: the run completes all the same, says so, and MLflow is told later, once."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_proxy import FaultProxy, Kind
from workspaces import TINY_LABELS, Done, Workspace, done, wait_for

from flows.server import running_url, service_folder
from rnnpipe.processes.service import keeper_of
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.training.journal import epochs_of, read_journal

NOWHERE = "http://127.0.0.1:9"
MODEL = "digits-rows"
EPOCHS = 40
LETTING_GO_S = 40.0  # what a Prefect that is gone may cost a run: four calls of five seconds, and a busy machine


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of these tests, without any server."""
    return Workspace(tmp_path_factory.mktemp("own"))


@pytest.fixture
def alone(own: Workspace, call: Callable[..., Done]) -> Callable[..., Done]:
    """Return a function that runs a command where no Prefect is; MLflow's address is what is given."""

    def run(*arguments: object, mlflow: str = "") -> Done:
        environment = {"RNNPIPE_HOME": str(own.home), "PREFECT_API_URL": f"{NOWHERE}/api"}
        return call(*arguments, environment=environment | ({"MLFLOW_TRACKING_URI": mlflow} if mlflow else {}))

    return run


def spool(own: Workspace) -> list[Path]:
    return list((own.home / "spool").iterdir())


def held(own: Workspace, experiment: str = MODEL) -> tuple[Tracking, dict[str, dict[str, Any]]]:
    """Return MLflow and what it says of each run by name; no name may be there twice."""
    tracking = open_tracking(sqlite_uri(own.home / "mlflow.db"), experiment, own.home)
    runs = tracking.client.search_runs([tracking.experiment_id])
    found = {
        run.info.run_name: {"id": run.info.run_id, "status": run.info.status, **run.data.tags} for run in runs
    }
    assert len(found) == len(runs)
    return tracking, found


def test_what_mlflow_missed_waits_and_is_delivered_once(
    own: Workspace, alone: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = alone("run", own.config(), mlflow=NOWHERE)
    assert missed.code == 5, missed.out + missed.err
    assert "the run goes on without Prefect" in missed.err and "Traceback" not in missed.err
    assert f"not tracked: MLflow can't be opened at {NOWHERE}" in missed.out and "gru-8x1" in missed.out
    trained, measured = own.manifests("trainings"), own.manifests("evaluations")
    assert len(trained) == len(measured) == len(TINY_LABELS) and len(spool(own)) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "MLflow doesn't hold 1 pipeline runs completely; fix: rnnpipe sync" in alone("doctor").out

    unsent = alone("sync", mlflow=NOWHERE)
    assert unsent.code == 5 and "isn't sent to MLflow: MLflow can't be opened" in unsent.err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    delivered = alone("sync")
    assert (delivered.code, spool(own)) == (0, []), delivered.err
    assert "MLflow was told of 1 pipeline runs, 0 still wait" in delivered.out
    tracking, runs = held(own)
    assert set(runs) == TINY_LABELS and {run["status"] for run in runs.values()} == {"FINISHED"}
    assert not [tag for run in runs.values() for tag in run if tag.startswith("prefect.")]
    champion = registry.champion(tracking, MODEL)
    assert champion is not None and champion.uri == f"models:/{MODEL}/1"
    assert not [tag for tag in champion.tags if tag.startswith("prefect.")]

    assert "nothing waits" in alone("sync").out
    again = alone("run", own.config())
    assert again.code == 0 and f"UNCHANGED models:/{MODEL}/1" in again.out and "runs: " not in again.out
    assert own.manifests("trainings") == trained and spool(own) == []
    assert {name: run["id"] for name, run in held(own)[1].items()} == {
        name: run["id"] for name, run in runs.items()
    }
    assert len(tracking.client.search_model_versions(f"name='{MODEL}'")) == 1


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("error", "answers with 500"),
        ("hang", "no Prefect server answers"),
        ("refuse", "no Prefect server answers"),
    ],
)
def test_a_prefect_whose_health_page_alone_answers_is_done_without(
    workspace: Workspace, own: Workspace, call: Callable[..., Done], kind: Kind, told: str
) -> None:
    with FaultProxy(str(running_url(workspace.home)).removesuffix("/api")) as proxy:
        proxy.fail(kind, "/api/admin")
        environment = {"RNNPIPE_HOME": str(own.home), "PREFECT_API_URL": f"{proxy.uri}/api"}
        run = call("run", own.config(), environment=environment)
        proxy.heal()
    assert run.code == 0, run.err
    assert told in run.err and "the run goes on without Prefect" in run.err


def test_a_prefect_address_that_is_none_is_done_without(own: Workspace, call: Callable[..., Done]) -> None:
    run = call("run", own.config(), environment={"RNNPIPE_HOME": str(own.home), "PREFECT_API_URL": "http://[bad"})
    assert run.code == 0, run.err
    assert "the run goes on without Prefect" in run.err


def test_the_next_run_delivers_what_another_could_not(
    own: Workspace, alone: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    unregistered: dict[str, Any] = {"registry": {"register_model": False}}
    other = own.config("other", tracking={"experiment": "other"}, **unregistered)
    assert alone("run", other, mlflow=NOWHERE).code == 5 and len(spool(own)) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    told = alone("run", own.config("next", tracking={"experiment": "next"}, **unregistered))
    assert (told.code, spool(own)) == (0, []), told.err
    for experiment in ("other", "next"):
        assert {name: run["status"] for name, run in held(own, experiment)[1].items()} == dict.fromkeys(
            TINY_LABELS, "FINISHED"
        )


@pytest.mark.slow
def test_a_prefect_that_is_lost_in_the_middle_costs_seconds_and_nothing_else(tmp_path: Path) -> None:
    own = Workspace(tmp_path)
    training = {"epochs": EPOCHS, "batch_size": 32, "preflight": False}
    variants, registry = [{"name": "gru", "hidden_size": 8}], {"register_model": False}
    config = own.config("lost", variants=variants, training=training, registry=registry)
    with own.start("run", config) as process:
        wait_for(lambda: process.poll() is not None or [len(epochs) >= 2 for epochs in trained(own)] == [True])
        keeper = keeper_of(service_folder(own.home))
        assert keeper is not None
        for each in [*keeper.children(recursive=True), keeper]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        wait_for(lambda: process.poll() is not None or own.manifests("evaluations"))
        measured = time.monotonic()
        ended = done(process)
    assert time.monotonic() - measured < LETTING_GO_S
    assert ended.code == 0, ended.err
    (line,) = ended.err.splitlines()
    assert "no Prefect server answers at" in line and "; the run goes on without Prefect" in line
    assert ended.out.count("runs: ") == 4 and ended.out.count("skipped: same ") == 4
    (epochs,) = trained(own)
    assert [event["epoch"] for event in epochs] == list(range(1, EPOCHS + 1))
    _, runs = held(own)
    assert {run["status"] for run in runs.values()} == {"FINISHED"} and len(runs) == 1
    assert spool(own) == [] and own.processes() == []


def trained(own: Workspace) -> list[list[dict[str, Any]]]:
    """Return the epochs behind each training."""
    return [epochs_of(read_journal(folder)) for folder in own.home.glob("store/trainings/*/")]
