import contextlib
import time
from pathlib import Path

import pytest
import tenacity
from fault_proxy import FaultProxy, Kind
from tracking_helpers import DATASET, Finished, verdict_on

from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.figures import style
from rnnpipe.evaluation.promotion import Decision
from rnnpipe.tracking import export, promotion
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.promotion import apply_verdict, register_trained
from rnnpipe.tracking.record import Record
from rnnpipe.tracking.recording import LiveRun, journal_points, record_run
from rnnpipe.tracking.registry import Version

pytestmark = pytest.mark.xdist_group("mlflow server")

TIMEOUT_S = 1
KINDS_WITHOUT_ANSWER: tuple[Kind, ...] = ("refuse", "error", "hang")
WRITES = {
    "create the run": "POST /api/2.0/mlflow/runs/create",
    "log a batch": "POST /api/2.0/mlflow/runs/log-batch",
    "log an artifact": "PUT /api/2.0/mlflow-artifacts/artifacts",
    "finish the run": "POST /api/2.0/mlflow/runs/update",
    "create the stored model": "POST /api/2.0/mlflow/logged-models",
    "create the registered model": "POST /api/2.0/mlflow/registered-models/create",
    "create the version": "POST /api/2.0/mlflow/model-versions/create",
    "move the alias": "POST /api/2.0/mlflow/registered-models/alias",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between attempts; a clean process that loads the model takes seconds, and is tested elsewhere."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT_S))
    for step in (record_run, register_trained, apply_verdict):
        monkeypatch.setattr(step.retry, "wait", tenacity.wait_none())
    monkeypatch.setattr(promotion, "Stranger", contextlib.nullcontext)
    monkeypatch.setattr(export, "check_round_trip", lambda *_: 0.0)


def connect(proxy: FaultProxy, tmp_path: Path) -> Tracking:
    return open_tracking(proxy.uri, "faults", tmp_path / "workspace")


def record(tracking: Tracking, finished: Finished) -> str:
    return record_run(
        tracking, finished.spec, training=finished.training, evaluation=finished.evaluation, dataset=DATASET
    )


def deliver(tracking: Tracking, finished: Finished) -> Version:
    """Record a training, register its model and make it champion."""
    run_id = record(tracking, finished)
    version = register_trained(
        tracking, finished.training, evaluation=finished.evaluation,
        record=Record.model_construct(config={}, files={}), model_name=finished.training.ref.key,
        run_id=run_id, tags={}, description="A net.",
    )  # fmt: skip
    assert apply_verdict(tracking, version, verdict_on(version, Decision.PROMOTE), run_id=run_id)
    return version


def assert_recorded_once(tracking: Tracking, finished: Finished) -> str:
    query = f"tags.`rnnpipe.run_key` = '{finished.training.ref.key}'"
    (run,) = tracking.client.search_runs([tracking.experiment_id], query)
    points = journal_points(finished.events)
    for name in {point.name for point in points}:
        history = tracking.client.get_metric_history(run.info.run_id, name)
        found = [(p.step, p.value, p.timestamp) for p in history]
        assert found == [(p.step, p.value, p.time_ms) for p in points if p.name == name]
    assert len(tracking.client.get_metric_history(run.info.run_id, "test/accuracy")) == 1
    assert run.info.status == "FINISHED"
    return str(run.info.run_id)


def assert_delivered_once(tracking: Tracking, finished: Finished) -> None:
    run_id, name = assert_recorded_once(tracking, finished), finished.training.ref.key
    (version,) = tracking.client.search_model_versions(f"name = '{name}'")
    assert (version.run_id, int(version.version)) == (run_id, 1)
    (model,) = tracking.client.search_logged_models([tracking.experiment_id], f"source_run_id = '{run_id}'")
    assert version.source == model.artifact_location
    (output,) = tracking.client.get_run(run_id).outputs.model_outputs
    assert output.model_id == model.model_id
    aliases = tracking.client.get_registered_model(name).aliases
    assert {alias: int(number) for alias, number in aliases.items()} == {"champion": 1}


def test_whatever_acknowledgement_is_lost_everything_stands_there_once(proxy: FaultProxy, tmp_path: Path) -> None:
    tracking = connect(proxy, tmp_path)
    finished = Finished(tmp_path, "lost")
    for call in WRITES.values():
        proxy.fail("lose", call, times=1)
    for _ in WRITES:  # a step is tried three times, and more are lost than that
        with contextlib.suppress(TrackingError):
            deliver(tracking, finished)
            break
    assert len(proxy.failed) == len(WRITES)
    assert_delivered_once(tracking, finished)


def test_a_server_out_of_order_costs_seconds_and_gets_it_later(proxy: FaultProxy, tmp_path: Path) -> None:
    tracking = connect(proxy, tmp_path)
    finished = Finished(tmp_path, "later")
    for kind in KINDS_WITHOUT_ANSWER:
        proxy.fail(kind)
        before = time.monotonic()
        with pytest.raises(TrackingError, match="fix: "):
            record(tracking, finished)
        assert time.monotonic() - before < 3 * TIMEOUT_S + 10
        assert len(proxy.failed) == 3, "MLflow's own client repeats nothing, the step is tried three times"
        proxy.heal()
        proxy.failed.clear()
    record(tracking, finished)
    assert_recorded_once(tracking, finished)


def test_a_run_created_late_is_removed(proxy: FaultProxy, tmp_path: Path) -> None:
    tracking = connect(proxy, tmp_path)
    finished = Finished(tmp_path, "late")
    proxy.fail("delay", WRITES["create the run"], times=1, seconds=2 * TIMEOUT_S)
    run_id = record(tracking, finished)
    query = f"tags.`rnnpipe.run_key` = '{finished.training.ref.key}'"
    deadline = time.monotonic() + 30
    while len(tracking.client.search_runs([tracking.experiment_id], query)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(tracking.client.search_runs([tracking.experiment_id], query)) == 2
    assert record(tracking, finished) == run_id
    assert_recorded_once(tracking, finished)


def test_a_live_run_through_a_server_that_fails_is_made_up_for(proxy: FaultProxy, tmp_path: Path) -> None:
    tracking = connect(proxy, tmp_path)
    finished = Finished(tmp_path, "alive")
    proxy.fail("lose", WRITES["log a batch"], skip=1)
    live = LiveRun(lambda: tracking, finished.spec)
    before = time.monotonic()
    for event in finished.events:
        live.take([event])
    assert time.monotonic() - before < 1
    live._thread.join(30)
    assert proxy.failed
    proxy.heal()
    record(tracking, finished)
    assert_recorded_once(tracking, finished)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["lose", "error"])
def test_every_single_request_may_fail(
    proxy: FaultProxy, tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "save_figure", lambda _, path: path.write_bytes(b"drawn elsewhere"))
    tracking = connect(proxy, tmp_path)
    number, failed = 0, True
    while failed:
        finished = Finished(tmp_path / str(number), f"{kind}-{number}")
        proxy.failed.clear()
        proxy.fail(kind, skip=number, times=1)
        deliver(tracking, finished)
        failed = bool(proxy.failed)
        proxy.heal()
        assert_delivered_once(tracking, finished)
        number += 1
    assert number > len(WRITES)
