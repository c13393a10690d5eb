"""Synthetic runs in MLflow's tables: copies of real trainings, each with its own key, times and accuracy."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.scaling.sinks import Sink
from benchmarks.scaling.template import Row, Template
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.tracking.runs import OWNER_TAG, PIPELINE_RUN_TAG, RUN_KEY_TAG

START_MS = 1_760_000_000_000
APART_MS = 60_000  # a training a minute
LONG_EVERY, LONG_POINTS, SHORT_POINTS = 100, 5000, 40  # steps of which the loss is kept; means 100 points a run
METRIC = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
VALUE = ("key", "value", "run_uuid")
OF_RUNS = ("params", "tags", "latest_metrics", "metrics")
VARIED = {MetricNames.TEST_ACCURACY, MetricNames.TEST_ACCURACY_PCT}

Rows = Iterator[Sequence[Any]]


def run_uuid(number: int) -> str:
    """Return the id of a synthetic run."""
    return hashlib.md5(f"run {number}".encode(), usedforsecurity=False).hexdigest()


def run_key(number: int) -> str:
    """Return the key by which rnnpipe finds a synthetic run."""
    return hashlib.sha256(f"run {number}".encode()).hexdigest()


def accuracy_share(number: int) -> float:
    """Return a number from 0 to 1 that seems random and is always the same."""
    return int(run_uuid(number)[:8], 16) / 0xFFFFFFFF


class TrackedRuns:
    """The rows of synthetic runs, by table. Every hundredth run is a long one, with the losses of 5,000 steps."""

    def __init__(self, template: Template, experiment_id: str, artifacts: str) -> None:
        self._experiment_id, self._artifacts = int(experiment_id), artifacts.rstrip("/")
        self._originals = template.trainings
        ids = [row["run_uuid"] for row in self._originals]
        self._values = {
            table: [[(row["key"], row["value"]) for row in template.of_run(table, each)] for each in ids]
            for table in ("params", "tags")
        }
        self._latest = [template.of_run("latest_metrics", each) for each in ids]
        self.trainings_a_run = len(ids)
        self.metrics_a_run = len(self._latest[0])

    def columns(self, table: str) -> Sequence[str]:
        """Return the columns of a table's rows."""
        fixed = {"runs": tuple(self._originals[0]), "params": VALUE, "tags": VALUE}
        return fixed.get(table, METRIC)

    def runs(self, number: int) -> Rows:
        """Yield the row of a run."""
        began_ms, place = START_MS + number * APART_MS, number % self.trainings_a_run
        own = {
            "run_uuid": run_uuid(number), "experiment_id": self._experiment_id, "start_time": began_ms,
            "end_time": began_ms + APART_MS // 2, "status": "FINISHED", "lifecycle_stage": "active",
            "artifact_uri": f"{self._artifacts}/{run_uuid(number)}/artifacts",
        }  # fmt: skip
        yield tuple({**self._originals[place], **own}.values())

    def params(self, number: int) -> Rows:
        """Yield the parameters of a run."""
        identifier = run_uuid(number)
        for key, value in self._values["params"][number % self.trainings_a_run]:
            yield key, value, identifier

    def tags(self, number: int) -> Rows:
        """Yield the tags of a run."""
        identifier = run_uuid(number)
        own = {
            RUN_KEY_TAG: run_key(number),
            PIPELINE_RUN_TAG: f"{number // self.trainings_a_run:08x}",
            OWNER_TAG: "elsewhere/1/boot/1",
        }
        for key, value in self._values["tags"][number % self.trainings_a_run]:
            yield key, own.get(key, value), identifier

    def latest_metrics(self, number: int) -> Rows:
        """Yield the newest point of each metric of a run."""
        identifier, began_ms = run_uuid(number), START_MS + number * APART_MS
        last = self.steps(number) - 1
        for row in self._latest[number % self.trainings_a_run]:
            value = self._value(row, number)
            step = last if row["key"] == MetricNames.TRAIN_STEP_LOSS else row["step"]
            yield row["key"], value, began_ms, identifier, step, False

    def metrics(self, number: int) -> Rows:
        """Yield all points of a run: the newest ones, and the losses of the steps before the last."""
        yield from self.latest_metrics(number)
        identifier, began_ms = run_uuid(number), START_MS + number * APART_MS
        for step in range(self.steps(number) - 1):
            yield MetricNames.TRAIN_STEP_LOSS, 2.3 / (1 + step / 20), began_ms, identifier, step, False

    def steps(self, number: int) -> int:
        """Return of how many steps the loss is kept."""
        return LONG_POINTS if number % LONG_EVERY == 0 else SHORT_POINTS

    def _value(self, row: Row, number: int) -> float:
        if row["key"] not in VARIED:
            return float(row["value"])
        share = 0.8 + 0.2 * accuracy_share(number)
        return 100 * share if row["key"] == MetricNames.TEST_ACCURACY_PCT else share


def fill(sink: Sink, source: TrackedRuns, numbers: range) -> None:
    """Write these runs into MLflow's tables."""
    with sink.loading(OF_RUNS):
        for table in ("runs", *OF_RUNS):
            rows_of = getattr(source, table)
            sink.write(table, source.columns(table), (row for number in numbers for row in rows_of(number)))


def fill_registry(sink: Sink, template: Template, versions: int) -> str:
    """Write versions of one registered model, copies of the template's; return the model's name."""
    original = template.mlflow["model_versions"][0]
    name = str(original["name"])
    tags = [
        row for row in template.mlflow["model_version_tags"]
        if (row["name"], row["version"]) == (name, original["version"])
    ]  # fmt: skip
    for table in ("registered_models", "registered_model_aliases"):
        rows = [row for row in template.mlflow[table] if row["name"] == name]
        sink.write(table, tuple(rows[0]), [tuple(row.values()) for row in rows])
    made = ({**original, "version": 1 + number, "run_id": run_uuid(number)} for number in range(versions))
    sink.write("model_versions", tuple(original), (tuple(row.values()) for row in made))
    own = {"rnnpipe.fingerprint": run_key}
    copies = (
        {**row, "version": 1 + number, "value": own[row["key"]](number) if row["key"] in own else row["value"]}
        for number in range(versions)
        for row in tags
    )
    sink.write("model_version_tags", tuple(tags[0]), (tuple(row.values()) for row in copies))
    return name
