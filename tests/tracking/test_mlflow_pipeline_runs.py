"""Pipeline runs, put together from what MLflow holds."""

from types import SimpleNamespace as Namespace
from typing import Any

import pytest
from registry_helpers import START_MS, Registry

from rnnpipe.evaluation.promotion import Decision
from rnnpipe.tracking import pipeline_runs, registry
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.demos import EXPERIMENT
from rnnpipe.tracking.newest_runs import newest_pipeline_runs
from rnnpipe.tracking.pipeline_runs import PipelineRun, read_pipeline_runs
from rnnpipe.tracking.registry import Candidate
from rnnpipe.tracking.runs import MetricPoint, RunSpec, finish_run, log_points, start_run


def train(place: Registry, key: str, *, run: str, accuracy: float | None, ended: int = 0, **tags: str) -> str:
    """Let MLflow hold a training; returns the run's id there."""
    tags = {"rnnpipe.pipeline_run": run, "rnnpipe.config_name": "nightly", **tags}
    params = {"variant": key.partition(" ")[0], "seed": key.partition(" ")[2] or 0}
    run_id = start_run(place.tracking, RunSpec(key, key, params, tags, START_MS))
    if accuracy is not None:
        names = ("test/accuracy", "test/accuracy_low", "test/accuracy_high")
        values = zip(names, (accuracy, accuracy - 0.01, accuracy + 0.01), strict=True)
        log_points(place.tracking, run_id, [MetricPoint(name, value, 0, START_MS) for name, value in values])
        finish_run(place.tracking, run_id, "FINISHED", START_MS + ended)
    return run_id


def test_where_nothing_was_run_there_is_nothing(place: Registry) -> None:
    assert read_pipeline_runs(place.tracking) == []
    assert read_pipeline_runs(place.tracking, "no-such") == []


def test_trainings_are_put_together_newest_run_first(place: Registry) -> None:
    train(place, "gru 0", run="first", accuracy=0.90, ended=1000)
    chosen = train(place, "gru 1", run="first", accuracy=0.89, ended=2000)
    train(place, "lstm 0", run="second", accuracy=0.95, ended=5000, **{"purpose": "paper"})
    train(place, "rnn 0", run="second", accuracy=None)
    candidate = Candidate(place.store_model(chosen, "m"), chosen, "f", {"rnnpipe.seed": "1"}, "A net.")
    version = registry.register(place.tracking, "digits-rows", candidate)
    place.judge(version, Decision.PROMOTE, correct=890)
    place.tracking.client.set_registered_model_alias("digits-rows", "champion", str(version.number))
    second, first = read_pipeline_runs(place.tracking)
    assert (second.run, first.run) == ("second", "first") and {second.config, first.config} == {"nightly"}
    assert [(each.variant, each.seed) for each in first.trainings] == [("gru", 0), ("gru", 1)]
    # the registered one, though another has the higher test accuracy
    assert first.best is not None and (first.best.seed, first.best.accuracy) == (1, 0.89)
    assert first.version is not None and first.version.verdict == "PROMOTE"
    assert first.version.aliases == ("champion",) and first.ended_at_ms == START_MS + 2000
    assert second.best is not None and second.best.variant == "lstm" and second.version is None
    assert (second.best.accuracy_low, second.best.accuracy_high) == pytest.approx((0.94, 0.96))
    assert second.trainings[1].status == "RUNNING" and second.trainings[1].accuracy is None
    assert second.has_tag("purpose", "paper") and second.has_tag("purpose", None)
    assert not second.has_tag("purpose", "pape") and not first.has_tag("purpose", None)
    assert first.has_tag("config_name", "nightly") and first.has_tag("rnnpipe.seed", "1")


def test_a_training_counts_for_the_run_that_used_it_last(place: Registry) -> None:
    run_id = train(place, "gru 0", run="first", accuracy=0.9)
    place.tracking.client.set_tag(run_id, "rnnpipe.pipeline_run", "second")
    (only,) = read_pipeline_runs(place.tracking)
    assert only.run == "second"


def kept(run: str, at_ms: int, experiment: str = "digits-rows") -> Any:
    """Return what the workspace keeps of a run of two trainings, as far as it is looked at here."""
    trained = [Namespace(training=Namespace(key=key)) for key in ("gru 0", "lstm 0")]
    return Namespace(
        run=run, at_ms=at_ms, config=Namespace(experiment=experiment, name="nightly"), trained=trained
    )


def test_runs_that_are_kept_are_listed_though_a_later_one_used_their_trainings(place: Registry) -> None:
    for key in ("gru 0", "lstm 0", "rnn 0"):
        train(place, key, run="second", accuracy=0.9, ended=1000)
    facts = [kept("second", START_MS + 9000), kept("first", START_MS + 2000), kept("other", 1, "elsewhere")]
    newer, older = read_pipeline_runs(place.tracking, None, facts)
    assert (newer.run, older.run) == ("second", "first") and older.config == "nightly"
    assert [each.variant for each in older.trainings] == ["gru", "lstm"]
    assert (newer.ended_at_ms, older.ended_at_ms) == (START_MS + 9000, START_MS + 2000)


def test_experiments_are_told_apart_and_demos_are_no_pipeline_runs(place: Registry) -> None:
    train(place, "gru 0", run="first", accuracy=0.9)
    others = Registry(open_tracking(place.tracking.uri, "mnist-rows", place.workspace), place.workspace)
    train(others, "gru 0", run="second", accuracy=0.9)
    demos = open_tracking(place.tracking.uri, EXPERIMENT, place.workspace)
    start_run(demos, RunSpec("d", "basic", {"demo": "basic"}, {"rnnpipe.pipeline_run": "third"}, START_MS))
    assert {run.run for run in read_pipeline_runs(place.tracking)} == {"first", "second"}
    (only,) = read_pipeline_runs(place.tracking, "mnist-rows")
    assert (only.run, only.experiment) == ("second", "mnist-rows")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MLflow be read four trainings at a time."""
    monkeypatch.setattr(pipeline_runs, "PAGE", 4)


def newest(place: Registry, limit: int, *facts: Any, config: str | None = None) -> tuple[list[PipelineRun], bool]:
    def kept_since(since_ms: int) -> list[Any]:
        return [each for each in facts if each.at_ms >= since_ms]

    def fits(run: PipelineRun) -> bool:
        return config in (None, run.config)

    return newest_pipeline_runs(place.tracking, None, kept_since, limit=limit, fits=fits)


@pytest.mark.usefixtures("small_pages")
def test_the_newest_are_found_without_reading_all(place: Registry) -> None:
    for number in range(6):
        for key in ("gru", "lstm"):
            train(place, f"{key} {number}", run=f"run{number}", accuracy=0.9, ended=1000 * number)
    every = read_pipeline_runs(place.tracking)
    assert [each.run for each in every] == [f"run{number}" for number in (5, 4, 3, 2, 1, 0)]
    for limit in (1, 2, 3):
        found, is_all = newest(place, limit)
        assert (found, is_all) == (every[:limit], False)
    assert newest(place, 7) == (every, True)
    chosen = every[0].trainings[0].run_id
    candidate = Candidate(place.store_model(chosen, "m"), chosen, "f", {"rnnpipe.seed": "1"}, "A net.")
    version = registry.register(place.tracking, "digits-rows", candidate)
    place.tracking.client.set_registered_model_alias("digits-rows", "champion", str(version.number))
    (found, *_), _ = newest(place, 2)
    assert found == read_pipeline_runs(place.tracking)[0] and found.version is not None
    assert (found.version.uri, found.version.aliases) == ("models:/digits-rows/1", ("champion",))
    train(place, "rnn 0", run="live", accuracy=None)
    assert [each.run for each in newest(place, 2)[0]] == ["live", "run5"]


@pytest.mark.usefixtures("small_pages")
def test_an_old_training_that_a_newest_run_has_used_is_brought(place: Registry) -> None:
    old = train(place, "gru 0", run="run0", accuracy=0.9, ended=1)
    for number in range(1, 7):
        train(place, f"lstm {number}", run=f"run{number}", accuracy=0.9, ended=1000 * number)
    place.tracking.client.set_tag(old, "rnnpipe.pipeline_run", "run6")
    (found,), is_all = newest(place, 1)
    assert not is_all and [each.variant for each in found.trainings] == ["gru", "lstm"]
    facts = kept("again", START_MS + 7000)  # it trained nothing: lstm 0 isn't there, gru 0 is the old one
    (again, _), is_all = newest(place, 2, facts)
    assert not is_all and again.run == "again" and [each.run_id for each in again.trainings] == [old]
    assert newest(place, 2, facts)[0] == read_pipeline_runs(place.tracking, None, [facts])[:2]


@pytest.mark.usefixtures("small_pages")
def test_runs_of_another_config_are_passed_over(place: Registry) -> None:
    for number in range(9):
        config = {"rnnpipe.config_name": "weekly"} if number in (0, 2) else {}
        train(place, f"gru {number}", run=f"run{number}", accuracy=0.9, ended=1000 * number, **config)
    found, is_all = newest(place, 1, config="weekly")
    assert not is_all and found[-1].run == "run2" and len(found) == 7
    assert newest(place, 2, config="weekly") == (read_pipeline_runs(place.tracking), True)
