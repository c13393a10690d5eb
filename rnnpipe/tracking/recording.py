"""From a training's journal and an evaluation's report to one MLflow run; the same journal gives the same run."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnpipe import __version__
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.evaluation.report import REPORT_FILE, EvaluationReport
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import canonical_json, read_json, scratch_folder
from rnnpipe.provenance import installed_packages
from rnnpipe.references import StageRef
from rnnpipe.store import MANIFEST, Entry
from rnnpipe.tracking.client import Tracking, retried
from rnnpipe.tracking.pictures import log_beliefs
from rnnpipe.tracking.runs import (
    DatasetUse,
    MetricPoint,
    RunPoints,
    RunSpec,
    Status,
    find_run,
    finish_run,
    log_artifact_files,
    log_dataset,
    log_points,
    set_tags,
    start_run,
    update_points,
)
from rnnpipe.training.journal import JOURNAL_FILE, Event, epochs_of, final_events, read_journal, step_losses

RECORDED_TAG = "rnnpipe.recorded"
COMPARED = {
    "variant", "seed", "variant_config.hidden_size", "variant_config.num_layers", "data.name", "sequence.name",
    "training.epochs", "training.batch_size", "training.learning_rate",
}  # fmt: skip
CLOSE_TIMEOUT_S = 3.0
PAUSE_S = 30.0

logger = logging.getLogger(__name__)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested JSON values as one level: {"training": {"epochs": 3}} → {"training.epochs": 3}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def run_spec(
    recipe_key: str, folder: Path, *, name: str, params: Mapping[str, Any], tags: Mapping[str, str]
) -> RunSpec:
    """Return the MLflow run of a training's folder: its key is the training's, its start that of the journal.

    MLflow prints all params above each picture, so it gets those that say something; a tag holds all.
    """
    shared = {"rnnpipe.version": __version__, "python": sys.version.split()[0]}
    shared["rnnpipe.params"] = canonical_json(params)
    started_at_ms = read_journal(folder)[0]["time_ms"]
    return RunSpec(recipe_key, name, _telling(flatten(params)), {**shared, **tags}, started_at_ms)


def _telling(params: dict[str, Any]) -> dict[str, Any]:
    """Return the params that are always compared, and those that aren't at their default."""
    if "variant_config.name" not in params:
        return params
    config = PipelineConfig.model_validate({"variants": [{"name": params["variant_config.name"]}]})
    usual = flatten(config.params_of(0, 0))
    return {name: value for name, value in params.items() if name in COMPARED or usual.get(name, value) != value}


def journal_points(events: list[Event]) -> list[MetricPoint]:
    """Return what a journal's events say in metrics: the loss of each update, then the figures of each epoch."""
    times_ms = [event["time_ms"] for event in events if event["event"] == "steps" for _ in event["losses"]]
    losses = [
        MetricPoint(MetricNames.TRAIN_STEP_LOSS, loss, step, time_ms)
        for (step, loss), time_ms in zip(step_losses(events), times_ms, strict=True)
    ]
    return losses + [point for event in epochs_of(events) for point in epoch_points(event)]


def epoch_points(event: Event) -> list[MetricPoint]:
    """Return the metrics of an epoch event, at the epoch's number and the time the journal gives."""
    values = {
        MetricNames.TRAIN_LOSS: event["train_loss"],
        MetricNames.TRAIN_LEARNING_RATE: event["learning_rate"],
        MetricNames.TRAIN_SAMPLES_PER_S: event["samples_per_s"],
        MetricNames.VAL_LOSS: event["validation_loss"],
        MetricNames.VAL_ACCURACY: event["validation_accuracy"],
    }
    if event["validation_accuracy"] is not None:
        values[MetricNames.VAL_ACCURACY_PCT] = round(100 * event["validation_accuracy"], 2)
    return [
        MetricPoint(name, value, event["epoch"], event["time_ms"])
        for name, value in values.items()
        if value is not None
    ]


class LiveRun:
    """Sends a growing journal to MLflow in a thread of its own: whoever reads the journal never waits for MLflow.

    MLflow failing is told once; half a minute later it is tried again. What isn't sent, `record_run` sends.
    """

    def __init__(self, connect: Callable[[], Tracking | None], spec: RunSpec) -> None:
        self._connect, self._spec = connect, spec
        self._news = queue.SimpleQueue[tuple[Sequence[Event], Status | None]]()
        self._pending: list[Event] = []
        self._run: tuple[str, RunPoints] | None = None
        self._has_told = False
        self._thread = threading.Thread(target=self._follow, name=f"mlflow {spec.name}", daemon=True)
        self._thread.start()

    def take(self, events: Sequence[Event]) -> None:
        """Have sent what is final among the journal's events; the first call starts the run."""
        self._news.put((events, None))

    def close(self, status: Status) -> None:
        """Give the run the status that a training ended with that broke off; takes seconds at most."""
        self._news.put(([], status))
        self._thread.join(CLOSE_TIMEOUT_S)

    def _follow(self) -> None:
        tracking, pause_until = self._connect(), 0.0
        while tracking is not None:
            news, status = self._news.get()
            is_end = self._add(news) or status is not None
            if is_end or (self._news.empty() and time.monotonic() >= pause_until):
                try:
                    self._send(tracking, status)
                except TrackingError as error:
                    self._run, pause_until = None, time.monotonic() + PAUSE_S
                    self._tell(error)
            if is_end:
                return

    def _add(self, events: Sequence[Event]) -> bool:
        """Remember events to send; say whether the training has come to its end. A journal may begin anew."""
        for event in events:
            if event["event"] == "start":
                self._pending = []
            self._pending.append(event)
        return bool(events) and events[-1]["event"] == "end"

    def _send(self, tracking: Tracking, status: Status | None) -> None:
        if self._run is None:
            run_id = start_run(tracking, self._spec)
            self._run = run_id, RunPoints(tracking, run_id)
        run_id, points = self._run
        final = final_events(self._pending)
        points.send(journal_points(final))
        del self._pending[: len(final)]
        if status is not None:
            finish_run(tracking, run_id, status, time.time_ns() // 1_000_000)

    def _tell(self, error: TrackingError) -> None:
        if not self._has_told:
            logger.warning("%s; %s goes on and is sent to MLflow later", error.message, self._spec.name)
        self._has_told = True


@retried
def record_run(tracking: Tracking, spec: RunSpec, *, training: Entry, evaluation: Entry, dataset: StageRef) -> str:
    """Make MLflow hold all of a finished training and its evaluation, and return the run's id.

    Whatever is there already stays: it can be called again after any failure, and is, twice. A run that is
    complete costs one search.
    """
    found = find_run(tracking, spec.key)
    if found is not None and found.data.tags.get(RECORDED_TAG) == evaluation.ref.key:
        run_id = str(found.info.run_id)
        set_tags(tracking, run_id, spec.tags)
        return run_id
    run_id = start_run(tracking, spec)
    events = read_journal(training.path)
    ended_at_ms = events[-1]["time_ms"]
    log_dataset(
        tracking, run_id, DatasetUse(dataset.facts["name"], dataset.digest, dataset.facts["name"], "training")
    )
    wall = MetricPoint(MetricNames.TRAIN_WALL_S, training.ref.facts["wall_s"], 0, ended_at_ms)
    log_points(tracking, run_id, [*journal_points(events), wall])
    update_points(tracking, run_id, evaluation_points(evaluation))
    _log_files(
        tracking, run_id, {spec.name: epochs_of(events)}, training=training.path, evaluation=evaluation.path
    )
    log_beliefs(tracking, run_id, training.path, events)
    finish_run(tracking, run_id, "FINISHED", ended_at_ms)
    # the last step: whoever finds this tag takes the run for whole
    set_tags(tracking, run_id, {**conditions(training.ref), RECORDED_TAG: evaluation.ref.key})
    return run_id


def evaluation_points(evaluation: Entry) -> list[MetricPoint]:
    """Return the figures of an evaluation, at step 0, which MLflow's pages draw as bars, and its own time."""
    time_ms = read_json(evaluation.path / MANIFEST)["made_at_ns"] // 1_000_000
    report = EvaluationReport.read(evaluation.path)
    return [MetricPoint(name, value, 0, time_ms) for name, value in report.metrics().items()]


def conditions(training: StageRef) -> dict[str, str]:
    """Return what every timing of a training needs beside it, as tags: device, threads, kernels and so on."""
    names = ("device", "threads", "threads_reason", "precision", "kernels", "kernels_reason", "torch")
    return {f"rnnpipe.{name}": str(training.facts[name]) for name in names if name in training.facts}


def _log_files(
    tracking: Tracking, run_id: str, histories: Mapping[str, list[Event]], *, training: Path, evaluation: Path
) -> None:
    from rnnpipe.evaluation.figures.curves import learning_curves  # brings matplotlib
    from rnnpipe.evaluation.figures.style import save_figure

    with scratch_folder() as folder:
        curves = folder / "learning_curves.png"
        save_figure(learning_curves(histories), curves)
        packages = folder / "environment.txt"
        packages.write_text("\n".join(installed_packages()) + "\n", encoding="utf-8")
        log_artifact_files(tracking, run_id, [packages], "")
        figures = [*sorted((evaluation / "figures").glob("*.png")), curves]
        log_artifact_files(tracking, run_id, figures, "figures")
    log_artifact_files(tracking, run_id, [training / name for name in MODEL_FILES], "model")
    log_artifact_files(tracking, run_id, [training / JOURNAL_FILE, evaluation / REPORT_FILE], "")
