"""Runs found by their key: one logical run is one MLflow run, whatever was killed and started again."""

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors

RUN_KEY_TAG = "rnnpipe.run_key"
OWNER_TAG = "rnnpipe.owner"
PIPELINE_RUN_TAG = "rnnpipe.pipeline_run"  # the last that used a training
CONFIG_NAME_TAG = "rnnpipe.config_name"
CONTEXT_TAG = "mlflow.data.context"
MAX_METRICS_PER_BATCH = 1000
MAX_VALUES_PER_BATCH = 100
MAX_PARAM_CHARACTERS = 6000
MAX_TAG_CHARACTERS = 8000
MAX_DIGEST_CHARACTERS = 36
START_TOLERANCE_S = 10.0  # correcting the clock moves the start times of processes

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RunSpec:
    """What a run is: its key (hex digest), its name in lists, flat params and tags, start in ms since 1970."""

    key: str
    name: str
    params: Mapping[str, object]
    tags: Mapping[str, object]
    started_at_ms: int


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric; the time in ms since 1970 comes from the journal, so a replay changes nothing."""

    name: str
    value: float
    step: int
    time_ms: int


@dataclass(frozen=True)
class DatasetUse:
    """A dataset a run used: name, SHA-256 (hex), source (URL or description), context such as training."""

    name: str
    digest: str
    source: str
    context: str


def start_run(tracking: Tracking, spec: RunSpec) -> str:
    """Return the id of the run with this key, created if there is none, and running from here on.

    A finished run is returned as it is. Of several processes one creates the run.
    """
    with mlflow_errors(f"start the run {spec.name}"):
        run = find_run(tracking, spec.key) or _create(tracking, spec)
        run_id = str(run.info.run_id)
        if run.info.status != "RUNNING" and not _reopened(tracking, run_id):
            return run_id
        with tracking.lock():  # a training's own thread may be doing the same
            held = tracking.client.get_run(run_id).data.params
            params = {name: value for name, value in spec.params.items() if name not in held}
            _log_values(tracking, run_id, params, {**spec.tags, RUN_KEY_TAG: spec.key, OWNER_TAG: _owner()})
    return run_id


def find_run(tracking: Tracking, key: str) -> "mlflow.entities.Run | None":
    """Return the run with this key, if there is one; others with the same key are deleted.

    They come from a creation that was never acknowledged and was carried out late. Kept is the run that is
    finished, or else in use, or else the oldest.
    """
    query = f"tags.`{RUN_KEY_TAG}` = '{key}'"
    with mlflow_errors("search for a run"):
        runs = sorted(tracking.client.search_runs([tracking.experiment_id], query), key=_place)
        for run in runs[1:]:
            tracking.client.delete_run(run.info.run_id)
    return runs[0] if runs else None


def _place(run: "mlflow.entities.Run") -> tuple[bool, bool, int, str]:
    """Return by what runs of one key are ordered; creation alone writes no parameters."""
    return run.info.status != "FINISHED", not run.data.params, run.info.start_time, run.info.run_id


def _create(tracking: Tracking, spec: RunSpec) -> "mlflow.entities.Run":
    tags = {RUN_KEY_TAG: spec.key, OWNER_TAG: _owner()}
    with tracking.lock():
        if (run := find_run(tracking, spec.key)) is not None:
            return run
        created = tracking.client.create_run(tracking.experiment_id, spec.started_at_ms, tags, spec.name)
        return find_run(tracking, spec.key) or created  # what came late is found here


def _reopened(tracking: Tracking, run_id: str) -> bool:
    """Let a run that stopped count as running again; a finished one stays as it is, and the answer is no."""
    with tracking.lock():
        if tracking.client.get_run(run_id).info.status == "FINISHED":
            return False
        tracking.client.update_run(run_id, status="RUNNING")
        return True


def set_tags(tracking: Tracking, run_id: str, tags: Mapping[str, object]) -> None:
    """Set tags of a run; values longer than MLflow takes are cut."""
    with mlflow_errors("set the tags of a run"):
        _log_values(tracking, run_id, {}, tags)


class RunPoints:
    """The points of a run's metrics. A step that MLflow holds already isn't sent again, whatever its time."""

    def __init__(self, tracking: Tracking, run_id: str) -> None:
        self._client, self._run_id = tracking.client, run_id
        self._steps: dict[str, set[int]] | None = None

    def send(self, points: Sequence[MetricPoint]) -> None:
        """Write the points that aren't there, in order; what MLflow holds is asked once, and after a failure."""
        with mlflow_errors("log metrics"):
            steps = self._held() if self._steps is None else self._steps
            self._steps = None
            missing = []
            for point in points:
                held = steps.setdefault(point.name, set())
                if point.step not in held:
                    held.add(point.step)
                    missing.append(point)
            _log_metrics(self._client, self._run_id, missing)
            self._steps = steps

    def _held(self) -> dict[str, set[int]]:
        names = self._client.get_run(self._run_id).data.metrics
        return {n: {p.step for p in self._client.get_metric_history(self._run_id, n)} for n in names}


def log_points(tracking: Tracking, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Write points of metrics; those that are there already stay as they are."""
    RunPoints(tracking, run_id).send(points)


def update_points(tracking: Tracking, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Write those points of metrics that differ from what MLflow shows: the newest value of each."""
    with mlflow_errors("log metrics"):
        shown = tracking.client.get_run(run_id).data.metrics
        _log_metrics(tracking.client, run_id, [point for point in points if shown.get(point.name) != point.value])


def _log_metrics(client: mlflow.MlflowClient, run_id: str, points: Sequence[MetricPoint]) -> None:
    metrics = [mlflow.entities.Metric(p.name, p.value, p.time_ms, p.step) for p in points]
    for start in range(0, len(metrics), MAX_METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS_PER_BATCH])


def log_dataset(tracking: Tracking, run_id: str, dataset: DatasetUse) -> None:
    """Record a dataset the run used. MLflow keeps one context for each name and digest: the first."""
    is_url = dataset.source.startswith(("http://", "https://"))
    entity = mlflow.entities.Dataset(
        name=dataset.name,
        digest=dataset.digest[:MAX_DIGEST_CHARACTERS],
        source_type="http" if is_url else "local",
        source=json.dumps({"url" if is_url else "uri": dataset.source}),
    )
    context = mlflow.entities.InputTag(CONTEXT_TAG, dataset.context)
    with mlflow_errors("log a dataset"):
        tracking.client.log_inputs(run_id, [mlflow.entities.DatasetInput(entity, [context])])


def log_artifact_files(tracking: Tracking, run_id: str, paths: Sequence[Path], folder: str) -> None:
    """Copy files into a folder of the run's artifacts; "" is the top. A file of the same name is replaced."""
    with mlflow_errors("store artifacts"):
        for path in paths:
            tracking.client.log_artifact(run_id, str(path), folder or None)


def finish_run(tracking: Tracking, run_id: str, status: Status, ended_at_ms: int) -> None:
    """Give a run its last status and its end in ms since 1970; nothing changes if it has that status."""
    with mlflow_errors("finish a run"), tracking.lock():
        if tracking.client.get_run(run_id).info.status != status:
            tracking.client.set_terminated(run_id, status, ended_at_ms)


def find_ghosts(tracking: Tracking) -> "list[mlflow.entities.Run]":
    """Return the runs that still count as running though their process is dead.

    Only runs that rnnpipe started on this host are looked at, in every experiment.
    """
    query = f"attributes.status = 'RUNNING' and tags.`{OWNER_TAG}` LIKE '{socket.gethostname()}/%'"
    with mlflow_errors("look for the runs of dead processes"):
        experiments = [each.experiment_id for each in tracking.client.search_experiments()]
        runs = tracking.client.search_runs(experiments, query, max_results=1000)
    return [run for run in runs if not _is_alive(run.data.tags[OWNER_TAG])]


def close_ghosts(tracking: Tracking) -> list[str]:
    """Mark as KILLED the runs that still count as running though their process is dead; return their names."""
    with mlflow_errors("close the runs of dead processes"), tracking.lock():
        ghosts = find_ghosts(tracking)
        for run in ghosts:
            tracking.client.set_terminated(run.info.run_id, "KILLED", time.time_ns() // 1_000_000)
    return [str(run.info.run_name) for run in ghosts]


def _log_values(tracking: Tracking, run_id: str, params: Mapping[str, object], tags: Mapping[str, object]) -> None:
    all_params = [mlflow.entities.Param(n, str(v)[:MAX_PARAM_CHARACTERS]) for n, v in params.items()]
    all_tags = [mlflow.entities.RunTag(n, str(v)[:MAX_TAG_CHARACTERS]) for n, v in tags.items()]
    for start in range(0, max(len(all_params), len(all_tags)), MAX_VALUES_PER_BATCH):
        part = slice(start, start + MAX_VALUES_PER_BATCH)
        tracking.client.log_batch(run_id, params=all_params[part], tags=all_tags[part])


def _owner() -> str:
    """Return host/pid/boot id/start of this process."""
    start_s = psutil.Process().create_time()
    return f"{socket.gethostname()}/{os.getpid()}/{_boot_id()}/{start_s:.0f}"


def _boot_id() -> str:
    """Return what Linux calls this boot; elsewhere "", and a process' start time alone tells boots apart."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""


def _is_alive(owner: str) -> bool:
    _, pid, boot_id, start_s = owner.rsplit("/", 3)
    if boot_id != _boot_id():
        return False
    try:
        process = psutil.Process(int(pid))
        same_start = abs(process.create_time() - float(start_s)) <= START_TOLERANCE_S
        return same_start and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
