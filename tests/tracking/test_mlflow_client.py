import logging
import os
import socket
import sqlite3
import time
from pathlib import Path

import alembic.command
import mlflow.store.db.utils
import pytest
import sqlalchemy
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase
from tracking_workers import start_in_workspace, worker_context

from rnnpipe import faults
from rnnpipe.errors import TrackingError
from rnnpipe.tracking.addresses import sqlite_path, sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def test_four_processes_bootstrap_an_empty_folder_and_share_one_run(tmp_path: Path) -> None:
    context = worker_context()
    answers = [tmp_path / f"answer-{number}" for number in range(4)]
    workers = [
        context.Process(target=start_in_workspace, args=(tmp_path / "new", "ab", answer)) for answer in answers
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    tracking = open_tracking(sqlite_uri(tmp_path / "new" / "mlflow.db"), "digits-rows", tmp_path / "new")
    runs = tracking.client.search_runs([tracking.experiment_id])
    assert [run.info.run_id for run in runs] == [answers[0].read_text()]
    assert len({answer.read_text() for answer in answers}) == 1


def test_opening_sets_the_database_and_the_experiment_up(tracking: Tracking) -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    with sqlite3.connect(sqlite_path(tracking.uri)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    experiment = tracking.client.get_experiment(tracking.experiment_id)
    assert experiment.name == "digits-rows"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.artifact_location == (tracking.lock_path.parent / "artifacts" / "digits-rows").as_uri()


def test_registry_alone_needs_no_experiment(tracking: Tracking) -> None:
    before = len(tracking.client.search_experiments())
    open_tracking(tracking.uri, None, tracking.lock_path.parent)
    assert len(tracking.client.search_experiments()) == before


def test_every_call_of_mlflow_is_a_fault_point(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[str] = []
    monkeypatch.setattr(faults, "_reach", reached.append)
    assert tracking.client.get_experiment(tracking.experiment_id).name == "digits-rows"
    with pytest.raises(TypeError):
        tracking.client.create_run()  # type: ignore[call-arg]
    assert reached == ["before-mlflow/get_experiment", "after-mlflow/get_experiment", "before-mlflow/create_run"]


def test_deleted_experiment_is_told_with_a_fix(tracking: Tracking) -> None:
    identifier = tracking.client.create_experiment("gone")
    tracking.client.delete_experiment(identifier)
    with pytest.raises(TrackingError, match=rf"restore --experiment-id {identifier}"):
        open_tracking(tracking.uri, "gone", tracking.lock_path.parent)


def test_database_of_an_older_mlflow_is_brought_up_to_date_after_a_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = sqlite_uri(tmp_path / "mlflow.db")
    engine = sqlalchemy.create_engine(uri)
    InitialBase.metadata.create_all(engine)
    config = mlflow.store.db.utils._get_alembic_config(uri)
    alembic.command.upgrade(config, "451aebb31d03")
    engine.dispose()
    with caplog.at_level(logging.WARNING):
        open_tracking(uri, "digits-rows", tmp_path)
    assert "older MLflow" in caplog.text
    assert len(list(tmp_path.glob("mlflow.db.2*"))) == 1


def test_server_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    before = time.monotonic()
    with pytest.raises(TrackingError, match=r"be opened at http://\*\*\*@127") as caught:
        open_tracking(f"http://me:secret@127.0.0.1:{port}", "digits-rows", tmp_path)
    assert time.monotonic() - before < 10
    assert "secret" not in str(caught.value)
    assert caught.value.fix


def test_address_that_is_none_is_a_tracking_error(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="fix: "):
        open_tracking("http://localhost:port", "digits-rows", tmp_path)


def test_damaged_database_is_a_tracking_error(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 1000)
    with pytest.raises(TrackingError, match="not a database"):
        open_tracking(sqlite_uri(tmp_path / "mlflow.db"), "digits-rows", tmp_path)
