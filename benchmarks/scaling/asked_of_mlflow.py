"""What rnnpipe and people ask of MLflow, as actions: through rnnpipe's own functions where it has one."""

import itertools
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.scaling.template import Template
from benchmarks.scaling.timing import Action
from benchmarks.scaling.tracked import START_MS, TrackedRuns, run_key, run_uuid
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.history import read_models
from rnnpipe.tracking.newest_runs import newest_pipeline_runs
from rnnpipe.tracking.registry import champion, find
from rnnpipe.tracking.runs import MetricPoint, RunPoints, RunSpec, find_ghosts, find_run, start_run
from rnnpipe.tracking.views import RANKED_BY

STRIDE = 7919  # a prime: the runs that are asked for lie all over
POINTS = 1000
PAGE = 100
NEWEST = 20
ORDER = [f"metrics.`{RANKED_BY}` DESC"]
EVERY_RUN, NEWEST_RUNS = "`rnnpipe runs --tag NAME`: every run", f"`rnnpipe runs`: the {NEWEST} newest"
SEARCH = "/api/2.0/mlflow/runs/search"
LOG = "/api/2.0/mlflow/runs/log-batch"


@dataclass(frozen=True)
class Asked:
    """An MLflow with synthetic runs: `size` in the experiment of `tracking`, a thousand in that of `beside`."""

    tracking: Tracking
    beside: Tracking
    size: int
    template: Template
    model: str
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def actions(self) -> dict[str, Action]:
        """Return the actions by what they are called on the page."""
        return {**self.steps_of_a_training(), **self.reading(), **self.registry()}

    def steps_of_a_training(self) -> dict[str, Action]:
        """Return what each training does, once or again and again."""
        log = self._log_points()
        return {
            "find a run by its key": lambda: find_run(self.tracking, run_key(self._next() % self.size)),
            "look for a key that isn't there": lambda: find_run(self.tracking, self._new_key()),
            "start a run": lambda: start_run(self.tracking, self._spec()),
            f"log {POINTS:,} points": lambda: log(POINTS),
            "log 6 points": lambda: log(6),
            "look for the runs of dead processes": lambda: find_ghosts(self.tracking),
        }

    def reading(self) -> dict[str, Action]:
        """Return what people ask for, in the terminal or through the pages."""
        return {
            f"comparison: {PAGE} runs, best first": lambda: self._compare(self.tracking),
            "the same in an experiment of its own": lambda: self._compare(self.beside),
            "history of 5,000 points": lambda: self.tracking.client.get_metric_history(
                run_uuid(0), MetricNames.TRAIN_STEP_LOSS
            ),
            NEWEST_RUNS: self._list_newest,
        }

    def registry(self) -> dict[str, Action]:
        """Return what is asked of the registry."""
        return {
            "read all versions of the registry": lambda: read_models(self.tracking),
            "find a version by its fingerprint": lambda: find(self.tracking, self.model, run_key(1)),
            "read the champion": lambda: champion(self.tracking, self.model),
        }

    def check(self, source: TrackedRuns) -> None:
        """Raise AssertionError unless MLflow gives some of the synthetic runs as they were written."""
        for number in {0, 1, self.size // 2, self.size - 1}:
            run = self.tracking.client.get_run(run_uuid(number))
            assert run.data.params == {key: value for key, value, _ in source.params(number)}
            tags = {key: value for key, value, _ in source.tags(number)}
            assert tags.items() <= run.data.tags.items()
            assert run.data.metrics == {key: value for key, value, *_ in source.latest_metrics(number)}
            history = self.tracking.client.get_metric_history(run_uuid(number), MetricNames.TRAIN_STEP_LOSS)
            assert len(history) == source.steps(number)
            found = find_run(self.tracking, run_key(number))
            assert found is not None and found.info.run_id == run_uuid(number)

    def _list_newest(self) -> None:
        found, _ = newest_pipeline_runs(
            self.tracking, None, lambda since: (), limit=NEWEST + 1, fits=lambda run: True
        )
        assert found

    def _compare(self, tracking: Tracking) -> None:
        found = tracking.client.search_runs([tracking.experiment_id], order_by=ORDER, max_results=PAGE)
        assert found

    def _log_points(self) -> Any:
        run_id = start_run(self.tracking, self._spec())
        points, steps = RunPoints(self.tracking, run_id), itertools.count()

        def log(count: int) -> None:
            made = [MetricPoint(MetricNames.TRAIN_STEP_LOSS, 0.5, next(steps), START_MS) for _ in range(count)]
            points.send(made)

        return log

    def _spec(self) -> RunSpec:
        """Return a new run, with the parameters and tags of the template's first training."""
        (original, *_) = self.template.trainings
        params, tags = (
            {row["key"]: row["value"] for row in self.template.of_run(table, original["run_uuid"])}
            for table in ("params", "tags")
        )
        own = {name: value for name, value in tags.items() if not name.startswith("mlflow.")}
        return RunSpec(self._new_key(), "new", params, own, START_MS)

    def _next(self) -> int:
        return next(self.numbers) * STRIDE

    def _new_key(self) -> str:
        return f"{uuid.uuid4().hex}{uuid.uuid4().hex}"


def ask_comparison(experiment_id: str) -> Any:
    """Return what a person's page asks: the first runs of the comparison."""
    body = {"experiment_ids": [experiment_id], "max_results": PAGE, "order_by": ORDER}

    def ask(client: httpx.Client, number: int) -> httpx.Response:
        return client.post(SEARCH, json=body)

    return ask


def ask_to_log(run_ids: list[str]) -> Any:
    """Return what a training asks once an epoch: to log six points of its run."""
    steps = itertools.count(1_000_000)
    names = [f"train/load_{place}" for place in range(6)]

    def ask(client: httpx.Client, number: int) -> httpx.Response:
        step = next(steps)
        metrics = [{"key": name, "value": 0.5, "timestamp": START_MS, "step": step} for name in names]
        text = json.dumps({"run_id": run_ids[number % len(run_ids)], "metrics": metrics})
        return client.post(LOG, content=text, headers={"Content-Type": "application/json"})

    return ask
