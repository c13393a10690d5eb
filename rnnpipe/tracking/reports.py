"""The pages of runs in MLflow, and which run or version somebody means."""

import re
from collections.abc import Callable
from pathlib import Path

from rnnpipe.errors import TrackingError
from rnnpipe.files import scratch_folder, write_bytes
from rnnpipe.reporting.run_page import REPORT_NAME
from rnnpipe.tracking.client import Tracking, download, mlflow, mlflow_errors, retried
from rnnpipe.tracking.history import every
from rnnpipe.tracking.registry import Version, version_of
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG, find_run, log_artifact_files
from rnnpipe.tracking.views import artifact_path

MLFLOW_RUN = re.compile("[0-9a-f]{32}")


@retried
def log_page(tracking: Tracking, training_key: str, make: Callable[[], str], *, replace: bool) -> None:
    """Store a page as the artifact report.html of a training's run; one that is there stays unless `replace`."""
    run = find_run(tracking, training_key)
    if run is None or (not replace and has_page(tracking, run.info.run_id)):
        return
    with scratch_folder() as folder:
        write_bytes(folder / REPORT_NAME, make().encode())
        log_artifact_files(tracking, run.info.run_id, [folder / REPORT_NAME], "")


def has_page(tracking: Tracking, run_id: str) -> bool:
    """Say whether a run of MLflow has a page."""
    with mlflow_errors("list the artifacts of a run"):
        return REPORT_NAME in {file.path for file in tracking.client.list_artifacts(run_id)}


@retried
def page_path(tracking: Tracking, training_key: str) -> str | None:
    """Return the way from any of MLflow's pages to the page of a training's run; None where it has none."""
    run = find_run(tracking, training_key)
    if run is None or not has_page(tracking, run.info.run_id):
        return None
    return artifact_path(tracking.experiment_id, run.info.run_id, REPORT_NAME)


@retried
def fetch_page(tracking: Tracking, run_id: str) -> bytes:
    """Return the page that a run of MLflow has; TrackingError where it has none."""
    if not has_page(tracking, run_id):
        raise TrackingError(
            f"MLflow has no page of the run {run_id}",
            "run its config again: what is trained already is skipped, and the page is made",
        )
    with mlflow_errors("fetch the page of a run"), scratch_folder() as folder:
        return Path(download(tracking, f"runs:/{run_id}/{REPORT_NAME}", folder)).read_bytes()


def read_run(tracking: Tracking, run_id: str) -> "mlflow.entities.Run":
    """Return a run of MLflow by its id; TrackingError where there is none."""
    with mlflow_errors(f"find the run {run_id}"):
        return tracking.client.get_run(run_id)


@retried
def runs_of_pipeline(tracking: Tracking, pipeline_run: str) -> "list[mlflow.entities.Run]":
    """Return the runs of MLflow that a pipeline run made or used last, in every experiment."""
    query = f"tags.`{PIPELINE_RUN_TAG}` = '{pipeline_run}'"
    with mlflow_errors("search the runs of a pipeline run"):
        experiments = [each.experiment_id for each in every(tracking.client.search_experiments)]
        return list(tracking.client.search_runs(experiments, query))


@retried
def version_with(tracking: Tracking, query: str) -> Version | None:
    """Return the oldest version that a query of MLflow finds, if there is one."""
    with mlflow_errors("search the versions of models"):
        found = sorted(map(version_of, tracking.client.search_model_versions(query)), key=_age)
    return found[0] if found else None


def _age(version: Version) -> tuple[int, str, int]:
    return version.created_at_ms, version.name, version.number
