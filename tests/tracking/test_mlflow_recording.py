import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import DATASET, Finished, events_of, journal_lines

from rnnpipe.errors import TrackingError
from rnnpipe.tracking import recording
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.recording import LiveRun, journal_points, record_run
from rnnpipe.tracking.runs import finish_run, start_run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def runs_of(tracking: Tracking, finished: Finished) -> list[Any]:
    query = f"tags.`rnnpipe.run_key` = '{finished.training.ref.key}'"
    return list(tracking.client.search_runs([tracking.experiment_id], query))


def history(tracking: Tracking, run_id: str, name: str) -> list[tuple[int, float, int]]:
    return [(p.step, p.value, p.timestamp) for p in tracking.client.get_metric_history(run_id, name)]


def assert_is_the_journal(tracking: Tracking, run_id: str, finished: Finished) -> None:
    points = journal_points(finished.events)
    assert {point.name for point in points} > {"train/step_loss", "train/loss", "val/accuracy"}
    for name in {point.name for point in points}:
        expected = [(p.step, p.value, p.time_ms) for p in points if p.name == name]
        assert history(tracking, run_id, name) == expected


def test_a_finished_training_is_one_run_that_equals_its_journal(tracking: Tracking, tmp_path: Path) -> None:
    finished = Finished(tmp_path, "whole")
    arguments: dict[str, Any] = {"training": finished.training, "dataset": DATASET}
    run_id = record_run(tracking, finished.spec, evaluation=finished.evaluation, **arguments)
    assert_is_the_journal(tracking, run_id, finished)
    run = tracking.client.get_run(run_id)
    assert [step for step, _, _ in history(tracking, run_id, "train/step_loss")] == list(range(6))
    assert (run.info.status, run.info.start_time) == ("FINISHED", finished.events[0]["time_ms"])
    assert run.info.end_time == finished.events[-1]["time_ms"]
    assert run.data.tags["rnnpipe.threads"] == "1"
    assert run.data.tags["rnnpipe.threads_reason"] == "1 thread: there is one core"
    before = run.to_dictionary()
    assert record_run(tracking, finished.spec, evaluation=finished.evaluation, **arguments) == run_id
    assert tracking.client.get_run(run_id).to_dictionary() == before
    again = finished.evaluated(tmp_path / "again", latency_ms=0.25)
    assert record_run(tracking, finished.spec, evaluation=again, **arguments) == run_id
    assert tracking.client.get_run(run_id).data.metrics["test/latency_ms_p50"] == 0.25
    assert len(history(tracking, run_id, "test/latency_ms_p50")) == 2
    assert len(history(tracking, run_id, "test/accuracy")) == len(history(tracking, run_id, "train/wall_s")) == 1
    assert_is_the_journal(tracking, run_id, finished)


def test_a_journal_told_again_at_other_times_adds_no_point(tracking: Tracking, tmp_path: Path) -> None:
    first = Finished(tmp_path / "first", "retold")
    arguments: dict[str, Any] = {"evaluation": first.evaluation, "dataset": DATASET}
    run_id = record_run(tracking, first.spec, training=first.training, **arguments)
    tracking.client.set_tag(run_id, recording.RECORDED_TAG, "")
    time.sleep(0.01)
    second = Finished(tmp_path / "second", "retold")
    assert second.events[0]["time_ms"] > first.events[0]["time_ms"]
    assert record_run(tracking, second.spec, training=second.training, **arguments) == run_id
    assert_is_the_journal(tracking, run_id, first)


def test_runs_of_one_key_become_one(tracking: Tracking, tmp_path: Path) -> None:
    finished = Finished(tmp_path, "doubled")
    spec = finished.spec
    used = start_run(tracking, spec)
    tags = {"rnnpipe.run_key": spec.key}
    for start_ms in (spec.started_at_ms - 1000, spec.started_at_ms):  # creations carried out late
        tracking.client.create_run(tracking.experiment_id, start_ms, tags)
    assert len(runs_of(tracking, finished)) == 3
    assert start_run(tracking, spec) == used
    assert [run.info.run_id for run in runs_of(tracking, finished)] == [used]


def test_a_live_run_holds_what_is_final_and_no_more(tracking: Tracking, tmp_path: Path) -> None:
    finished = Finished(tmp_path, "live")
    events = events_of(tmp_path / "other", journal_lines(epochs=3))
    torn = next(place for place, event in enumerate(events) if event.get("epoch") == 2)
    live = LiveRun(lambda: tracking, finished.spec)
    for event in events[: torn + 1]:
        live.take([event])
    live.close("FAILED")
    (run,) = runs_of(tracking, finished)
    assert run.info.status == "FAILED"
    assert [step for step, _, _ in history(tracking, run.info.run_id, "train/step_loss")] == [0, 1, 2]
    resumed = LiveRun(lambda: tracking, finished.spec)
    resumed.take(events[:3])
    resumed.take(events)  # the journal was replaced: it is read from its start
    resumed._thread.join(30)
    assert [step for step, _, _ in history(tracking, run.info.run_id, "train/step_loss")] == list(range(9))
    assert [run.info.status for run in runs_of(tracking, finished)] == ["RUNNING"]
    finish_run(tracking, run.info.run_id, "KILLED", 1)


def test_a_failing_mlflow_is_told_once_and_tried_again(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finished = Finished(tmp_path, "failing")
    monkeypatch.setattr(recording, "PAUSE_S", 0.0)
    tried, is_down = threading.Semaphore(0), threading.Event()
    is_down.set()

    def start_if_up(*arguments: Any) -> str:
        tried.release()
        if is_down.is_set():
            raise TrackingError("MLflow is down")
        return start_run(*arguments)

    monkeypatch.setattr(recording, "start_run", start_if_up)
    live = LiveRun(lambda: tracking, finished.spec)
    for event in finished.events[:2]:
        live.take([event])
        assert tried.acquire(timeout=30)
    is_down.clear()
    live.take(finished.events[2:])
    live._thread.join(30)
    (run,) = runs_of(tracking, finished)
    assert_is_the_journal(tracking, run.info.run_id, finished)
    assert caplog.text.count("MLflow is down") == 1


def test_a_hanging_mlflow_holds_nobody_up(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished, is_over = Finished(tmp_path, "hanging"), threading.Event()
    monkeypatch.setattr(recording, "start_run", lambda *_: is_over.wait(60))
    monkeypatch.setattr(recording, "CLOSE_TIMEOUT_S", 0.2)
    live = LiveRun(lambda: tracking, finished.spec)
    before = time.monotonic()
    for event in finished.events[:-1]:
        live.take([event])
    assert time.monotonic() - before < 1
    live.close("FAILED")
    assert time.monotonic() - before < 10
    monkeypatch.setattr(recording, "finish_run", lambda *_: None)
    monkeypatch.setattr(recording.RunPoints, "send", lambda *_: None)
    is_over.set()
    live._thread.join(30)
    assert not live._thread.is_alive()


def test_without_mlflow_a_live_run_does_nothing(tmp_path: Path) -> None:
    live = LiveRun(lambda: None, Finished(tmp_path, "none").spec)
    live.take([{"event": "start"}])
    live.close("FAILED")
    assert not live._thread.is_alive()
