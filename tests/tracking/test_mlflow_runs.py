import math
import os
import time
from pathlib import Path

import pytest
from tracking_workers import start_and_hang, worker_context

from rnnpipe.errors import TrackingError
from rnnpipe.tracking import runs
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.runs import DatasetUse, MetricPoint, RunSpec, close_ghosts, finish_run, log_points, start_run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

START_MS = 1_700_000_000_000


def spec(key: str, **params: object) -> RunSpec:
    return RunSpec(key, f"run-{key}", params, {"rnnpipe.pipeline_run": "p1"}, START_MS)


def test_a_key_is_one_run_with_its_params_tags_and_start(tracking: Tracking) -> None:
    params = {f"p{number}": number for number in range(150)} | {"long": "x" * 9000}
    run_id = start_run(tracking, spec("aa", **params))
    assert start_run(tracking, spec("aa", **params)) == run_id
    run = tracking.client.get_run(run_id)
    assert (run.info.run_name, run.info.status, run.info.start_time) == ("run-aa", "RUNNING", START_MS)
    assert run.data.params == {name: str(value)[:6000] for name, value in params.items()}
    assert run.data.tags["rnnpipe.pipeline_run"] == "p1"


def test_replayed_points_change_nothing(tracking: Tracking) -> None:
    run_id = start_run(tracking, spec("ab"))
    points = [MetricPoint("train/loss", 1 / (step + 1), step, START_MS + step) for step in range(2500)]
    points += [MetricPoint("val/loss", math.nan, 0, START_MS), MetricPoint("val/loss", math.inf, 1, START_MS)]
    log_points(tracking, run_id, points[:1200])
    before = tracking.client.get_metric_history(run_id, "train/loss")
    log_points(tracking, run_id, points)
    log_points(tracking, run_id, points)
    after = tracking.client.get_metric_history(run_id, "train/loss")
    assert (len(before), len(after)) == (1200, 2500)
    assert [(m.value, m.step, m.timestamp) for m in after] == [(p.value, p.step, p.time_ms) for p in points[:2500]]
    assert len(tracking.client.get_metric_history(run_id, "val/loss")) == 2


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_run_that_stopped_goes_on_running(tracking: Tracking, status: runs.Status) -> None:
    run_id = start_run(tracking, spec(f"ac-{status}"))
    finish_run(tracking, run_id, status, START_MS + 1000)
    info = tracking.client.get_run(run_id).info
    assert (info.status, info.end_time) == (status, START_MS + 1000)
    assert start_run(tracking, spec(f"ac-{status}")) == run_id
    assert tracking.client.get_run(run_id).info.status == "RUNNING"


def test_a_finished_run_stays_as_it_is(tracking: Tracking) -> None:
    run_id = start_run(tracking, spec("ad"))
    finish_run(tracking, run_id, "FINISHED", START_MS + 1000)
    before = tracking.client.get_run(run_id).to_dictionary()
    assert start_run(tracking, spec("ad")) == run_id
    finish_run(tracking, run_id, "FINISHED", START_MS + 9000)
    assert tracking.client.get_run(run_id).to_dictionary() == before


def test_datasets_and_files_stand_in_the_run_once(tracking: Tracking, tmp_path: Path) -> None:
    run_id = start_run(tracking, spec("ae"))
    report = tmp_path / "report.json"
    report.write_text("{}")
    for _ in range(2):
        runs.log_dataset(tracking, run_id, DatasetUse("digits", "0" * 64, "https://example.org/x", "training"))
        runs.log_artifact_files(tracking, run_id, [report], "evaluation")
        runs.set_tags(tracking, run_id, {"note": "n" * 9000})
    run = tracking.client.get_run(run_id)
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.tags[0].value) == ("digits", "0" * 36, "training")
    assert [file.path for file in tracking.client.list_artifacts(run_id, "evaluation")] == [
        "evaluation/report.json"
    ]
    assert len(run.data.tags["note"]) == 8000


def test_runs_of_dead_processes_are_closed_and_no_others(tracking: Tracking, tmp_path: Path) -> None:
    context = worker_context()
    workspace, answer = tracking.lock_path.parent, tmp_path / "answer"
    worker = context.Process(target=start_and_hang, args=(workspace, "dead", answer))
    worker.start()
    deadline = time.monotonic() + 60
    while not answer.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = start_run(tracking, spec("alive"))
    foreign = tracking.client.create_run(tracking.experiment_id, tags={runs.OWNER_TAG: "elsewhere/1/x/0"})
    unowned = tracking.client.create_run(tracking.experiment_id)
    assert close_ghosts(tracking) == []
    worker.kill()
    worker.join(60)
    assert close_ghosts(tracking) == ["run-dead"]
    statuses = {
        name: tracking.client.get_run(run_id).info.status
        for name, run_id in {"dead": answer.read_text(), "alive": alive}.items()
    }
    assert statuses == {"dead": "KILLED", "alive": "RUNNING"}
    for run in (foreign, unowned):
        assert tracking.client.get_run(run.info.run_id).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("part", "value"), [(1, "999999999"), (2, "another-boot"), (3, "1000")], ids=["pid", "boot", "start"]
)
def test_any_difference_of_pid_boot_or_start_means_dead(tracking: Tracking, part: int, value: str) -> None:
    run_id = start_run(tracking, spec(f"ghost-{part}"))
    owner = tracking.client.get_run(run_id).data.tags[runs.OWNER_TAG].split("/")
    assert owner[1] == str(os.getpid())
    owner[part] = value
    runs.set_tags(tracking, run_id, {runs.OWNER_TAG: "/".join(owner)})
    assert close_ghosts(tracking) == [f"run-ghost-{part}"]


def test_mlflows_refusals_are_tracking_errors(tracking: Tracking) -> None:
    for action in (
        lambda: log_points(tracking, "f" * 32, [MetricPoint("a", 1.0, 0, START_MS)]),
        lambda: finish_run(tracking, "f" * 32, "FINISHED", START_MS),
        lambda: runs.log_artifact_files(tracking, start_run(tracking, spec("af")), [Path("nowhere")], ""),
    ):
        with pytest.raises(TrackingError, match="fix: "):
            action()
