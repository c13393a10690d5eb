"""From a training's journal and an evaluation's report to one MLflow run; the same journal gives the same run."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rnnpipe import __version__
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.figures import learning_curves, save_figure
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.evaluation.report import REPORT_FILE, EvaluationReport
from rnnpipe.files import read_json, scratch_folder
from rnnpipe.provenance import installed_packages
from rnnpipe.references import StageRef
from rnnpipe.store import Entry
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.export import MODEL_FILES
from rnnpipe.tracking.runs import (
    DatasetUse,
    MetricPoint,
    RunSpec,
    Status,
    find_run,
    finish_run,
    log_artifact_files,
    log_dataset,
    log_points,
    set_tags,
    start_run,
)
from rnnpipe.training.job import IDENTITY_FILE
from rnnpipe.training.journal import JOURNAL_FILE, Event, epochs_of, read_journal

RECORDED_TAG = "rnnpipe.recorded"

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
    """Return the MLflow run of a training's folder; a killed training that goes on is the same run."""
    identity = read_json(folder / IDENTITY_FILE)
    shared = {"rnnpipe.version": __version__, "python": sys.version.split()[0]}
    key = f"{recipe_key[:32]}{identity['id']}"
    return RunSpec(key, name, flatten(params), {**shared, **tags}, identity["started_at_ms"])


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
        values[MetricNames.VAL_ACCURACY_PCT] = 100 * event["validation_accuracy"]
    return [
        MetricPoint(name, value, event["epoch"], event["time_ms"])
        for name, value in values.items()
        if value is not None
    ]


class LiveRun:
    """A run in MLflow that grows with its journal. MLflow failing is told once and stops nothing."""

    def __init__(self, tracking: Tracking | None, spec: RunSpec) -> None:
        self._tracking, self._spec = tracking, spec
        self._run_id = ""

    def take(self, events: Sequence[Event]) -> None:
        """Send the epochs among `events`; the first call starts the run."""
        self._try(lambda tracking: self._send(tracking, events))

    def close(self, status: Status) -> None:
        """Give the run the status that a training ended with which didn't come to its end."""
        now_ms = time.time_ns() // 1_000_000
        self._try(lambda tracking: finish_run(tracking, self._run_id or self._start(tracking), status, now_ms))

    def _start(self, tracking: Tracking) -> str:
        self._run_id = start_run(tracking, self._spec)
        return self._run_id

    def _send(self, tracking: Tracking, events: Sequence[Event]) -> None:
        run_id = self._run_id or self._start(tracking)
        if points := [point for event in epochs_of(list(events)) for point in epoch_points(event)]:
            log_points(tracking, run_id, points)

    def _try(self, action: Any) -> None:
        if self._tracking is None:
            return
        try:
            action(self._tracking)
        except TrackingError as error:
            self._tracking = None
            logger.warning("%s; %s goes on and is sent to MLflow later", error.message, self._spec.name)


def record_run(tracking: Tracking, spec: RunSpec, *, training: Entry, evaluation: Entry, dataset: StageRef) -> str:
    """Make MLflow hold all of a finished training and its evaluation, and return the run's id.

    Whatever is there already stays: it can be called again after any failure. A run that is complete costs one
    search.
    """
    found = find_run(tracking, spec.key)
    if found is not None and found.data.tags.get(RECORDED_TAG) == evaluation.ref.key:
        run_id = str(found.info.run_id)
        set_tags(tracking, run_id, spec.tags)
        return run_id
    run_id = start_run(tracking, spec)
    events = read_journal(training.path)
    epochs = epochs_of(events)
    report = EvaluationReport.read(evaluation.path)
    ended_at_ms = events[-1]["time_ms"]
    log_dataset(
        tracking, run_id, DatasetUse(dataset.facts["name"], dataset.digest, dataset.facts["name"], "training")
    )
    log_points(tracking, run_id, [point for event in epochs for point in epoch_points(event)])
    # single values stand at step 0, which MLflow's pages draw as bars
    single = {**report.metrics(), MetricNames.TRAIN_WALL_S: training.ref.facts["wall_s"]}
    log_points(tracking, run_id, [MetricPoint(name, value, 0, ended_at_ms) for name, value in single.items()])
    curves = learning_curves({spec.name: epochs})
    _log_files(tracking, run_id, curves, training=training.path, evaluation=evaluation.path)
    set_tags(tracking, run_id, {**conditions(training.ref), RECORDED_TAG: evaluation.ref.key})
    finish_run(tracking, run_id, "FINISHED", ended_at_ms)
    return run_id


def conditions(training: StageRef) -> dict[str, str]:
    """Return what every timing of a training needs beside it, as tags: device, threads, precision, torch."""
    facts = training.facts
    return {f"rnnpipe.{name}": str(facts[name]) for name in ("device", "threads", "precision", "torch")}


def _log_files(tracking: Tracking, run_id: str, figure: Figure, *, training: Path, evaluation: Path) -> None:
    with scratch_folder() as folder:
        curves = folder / "learning_curves.png"
        save_figure(figure, curves)
        packages = folder / "environment.txt"
        packages.write_text("\n".join(installed_packages()) + "\n", encoding="utf-8")
        log_artifact_files(tracking, run_id, [packages], "")
        figures = [*sorted((evaluation / "figures").glob("*.png")), curves]
        log_artifact_files(tracking, run_id, figures, "figures")
    log_artifact_files(tracking, run_id, [training / name for name in MODEL_FILES], "model")
    log_artifact_files(tracking, run_id, [training / JOURNAL_FILE, evaluation / REPORT_FILE], "")
