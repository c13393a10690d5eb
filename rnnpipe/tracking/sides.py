"""Which run or model somebody means who names a version, or a run that only MLflow knows."""

import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors.numpy import load_file

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.report import PREDICTIONS_FILE, REPORT_FILE, EvaluationReport
from rnnpipe.evaluation.spec import SPEC_FILE, ModelSpec
from rnnpipe.evaluation.standing import Standing
from rnnpipe.files import read_json, scratch_folder
from rnnpipe.reporting.comparison import Side
from rnnpipe.reporting.facts import read_facts
from rnnpipe.reporting.kept import PIPELINE_RUN, side_of, trained_by, without_label
from rnnpipe.reporting.run_page import run_page
from rnnpipe.store import Store
from rnnpipe.tracking.client import Tracking, download, mlflow_errors, retried
from rnnpipe.tracking.record import Record, fetch_record
from rnnpipe.tracking.registry import Version, resolve_model_uri
from rnnpipe.tracking.reports import (
    MLFLOW_RUN,
    fetch_page,
    has_page,
    read_run,
    runs_of_pipeline,
    version_with,
)
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG, RUN_KEY_TAG


def find_page(tracking: Tracking, workspace: Path, text: str) -> tuple[str, bytes]:
    """Return the id and the page of the run that a text means: one of MLflow's, or who registered a version.

    Made from what the workspace keeps of the run, else fetched from MLflow; TrackingError where neither has it.
    """
    if PIPELINE_RUN.fullmatch(text):
        for run in runs_of_pipeline(tracking, text):
            if has_page(tracking, run.info.run_id):
                return text, fetch_page(tracking, run.info.run_id)
        raise _unknown(text)
    if MLFLOW_RUN.fullmatch(text):
        run_id, tags = text, read_run(tracking, text).data.tags
    else:  # a later run that used the model takes over the tag of its run in MLflow, not the version's
        version = resolve_model_uri(tracking, text)
        run_id, tags = version.run_id, dict(version.tags)
    pipeline_run = tags.get(PIPELINE_RUN_TAG, "")
    if not PIPELINE_RUN.fullmatch(pipeline_run):  # anybody may set a tag, and this one names a folder
        pipeline_run = run_id[:8]
    facts = read_facts(workspace, pipeline_run)
    if facts is None:
        return pipeline_run, fetch_page(tracking, run_id)
    return pipeline_run, run_page(workspace, facts, Store(workspace / "store")).encode()


def find_side(tracking: Tracking, workspace: Path, text: str) -> Side:
    """Return the model that a text means: a registered version, or that of a run of MLflow's.

    TrackingError where there is none, DataError where its answers aren't in the store any more.
    """
    if MLFLOW_RUN.fullmatch(text):
        found = trained_by(workspace, read_run(tracking, text).data.tags.get(RUN_KEY_TAG, ""))
        if found is not None:
            return side_of(workspace, *found, name=f"MLflow's run {text[:8]}")
        version = version_with(tracking, f"run_id = '{text}'")
    elif PIPELINE_RUN.fullmatch(text):
        version = version_with(tracking, f"tags.`{PIPELINE_RUN_TAG}` = '{text}'")
    else:
        version = resolve_model_uri(tracking, text)
    if version is None:
        raise _unknown(text)
    return _side_of_version(tracking, version)


def _unknown(text: str) -> TrackingError:
    return TrackingError(
        f"neither this workspace nor MLflow knows what the run {text} was",
        "name a registered version (models:/NAME/3), or run its config again: what is trained already is skipped",
    )


def _side_of_version(tracking: Tracking, version: Version) -> Side:
    with scratch_folder() as folder:
        record = fetch_record(tracking, version, folder)
        spec = ModelSpec.model_validate(read_json(folder / SPEC_FILE))
        stored = load_file(folder / PREDICTIONS_FILE)
    report = _report_of(tracking, version)
    standing = Standing(
        version=version.uri,
        predicted_N=stored["probabilities"].argmax(axis=1),
        labels_N=stored["labels"],
        classes=spec.classes,
        latency_ms=report.latency_ms_p50 if report else math.nan,
        size_bytes=report.weights_bytes if report else 0,
    )
    is_of_these = report is not None and (report.correct, report.total) == (standing.correct, standing.total)
    return Side(
        name=f"{version.uri}, {spec.variant.label} s{record.seed}",
        standing=standing,
        images=record.dataset_digest,
        params=_params_of(record),
        report=report if is_of_these else None,
    )


@retried
def _report_of(tracking: Tracking, version: Version) -> EvaluationReport | None:
    """Return what was measured beside a version's answers; None where its run has nothing that can be read."""
    try:
        with mlflow_errors(f"fetch the report of {version.uri}"), scratch_folder() as folder:
            path = download(tracking, f"runs:/{version.run_id}/{REPORT_FILE}", folder)
            return EvaluationReport.model_validate(read_json(path))
    except (TrackingError, ValueError):
        return None


def _params_of(record: Record) -> dict[str, Any]:
    """Return what a version's training went by, as its record says; of another rnnpipe's, as it stands there."""
    try:
        params = PipelineConfig.model_validate(record.config).params_of(record.variant, record.seed)
    except ValidationError:
        params = {**record.config, "variants": record.config["variants"][record.variant], "seed": record.seed}
    return without_label(params)
