"""The connection to MLflow: opened once under a lock, always with an explicit URI, no global state.

MLflow is imported here first, after its telemetry is switched off; the other modules take it from here.
"""

import functools
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import tenacity
from filelock import FileLock

from rnnpipe import faults
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import RegistrationError, TrackingError
from rnnpipe.files import scratch_folder, write_bytes
from rnnpipe.tracking.addresses import is_server, sqlite_path, sqlite_uri

DEFAULTS = {  # before the import, and only where the user has set nothing
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # it would repeat requests of every kind, also what was carried out
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; with the attempts below a silent server costs half a minute
}
for _name, _value in DEFAULTS.items():
    os.environ.setdefault(_name, _value)

import alembic.script  # noqa: E402
import mlflow  # noqa: E402
import mlflow.db  # noqa: E402
import mlflow.entities  # noqa: E402
import mlflow.exceptions  # noqa: E402
import mlflow.store.db_migrations  # noqa: E402
import sqlalchemy.exc  # noqa: E402
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402

__all__ = ["Tracking", "delete_artifacts", "download", "mlflow", "mlflow_errors", "open_tracking", "retried"]

PROBE_TIMEOUT_S = 5.0
LOCK_TIMEOUT_S = 120.0
ATTEMPTS = 3
DEFAULT_EXPERIMENT_ID = "0"
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the pages open for chat agents
MAX_MESSAGE_CHARACTERS = 300

logger = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each migration of a new database
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what `mlflow_errors` tells


@dataclass(frozen=True)
class Tracking:
    """MLflow at one URI, and the experiment whose runs are meant."""

    uri: str
    experiment_id: str
    client: mlflow.MlflowClient
    lock_path: Path

    def lock(self) -> FileLock:
        """Return the OS lock of whoever finds or creates something in MLflow; any death frees it."""
        return FileLock(self.lock_path, timeout=LOCK_TIMEOUT_S)


class _Client:
    """MLflow's client, with a fault point before and after each of its calls."""

    def __init__(self, uri: str) -> None:
        self._client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        @functools.wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            with faults.around("mlflow", name):
                return method(*arguments, **keywords)

        return call


def download(tracking: Tracking, uri: str, folder: Path) -> Path:
    """Fetch the artifacts at a URI, a file or a folder, into an existing folder; return where they are."""
    with faults.around("mlflow", "download_artifacts"):
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=tracking.uri))


def delete_artifacts(tracking: Tracking, uri: str) -> None:
    """Remove the artifacts at a URI, file or folder, for good; nothing happens where there are none."""
    with faults.around("mlflow", "delete_artifacts"):
        repository: Any = get_artifact_repository(uri, tracking.uri, tracking.uri)
        repository.delete_artifacts()


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TrackingError) and not isinstance(error, RegistrationError)


# for steps that find what an earlier attempt left: MLflow may have done what it never acknowledged
retried = tenacity.retry(
    retry=tenacity.retry_if_exception(_may_pass),
    stop=tenacity.stop_after_attempt(ATTEMPTS),
    wait=tenacity.wait_exponential(),
    reraise=True,
)


@contextmanager
def mlflow_errors(doing: str) -> Iterator[None]:
    """Turn whatever MLflow and what lies below it raise into a TrackingError: "MLflow can't {doing}: ..."."""
    try:
        yield
    except (
        mlflow.exceptions.MlflowException, sqlalchemy.exc.SQLAlchemyError, sqlite3.Error,
        httpx.HTTPError, httpx.InvalidURL, json.JSONDecodeError, OSError,
    ) as error:  # fmt: skip
        text = mask_credentials(" ".join(str(error).split()))
        reason = text[:MAX_MESSAGE_CHARACTERS] or type(error).__name__
        raise TrackingError(
            f"MLflow can't {doing}: {reason}",
            "check that the tracking URI can be reached and written; what has been computed is kept, so the"
            " same command goes on from here",
        ) from error


def open_tracking(uri: str, experiment: str | None, workspace: Path) -> Tracking:
    """Open MLflow at a resolved URI; create what isn't there: database, experiment.

    Any number of processes may open an empty workspace at once: they take turns under an OS lock. Without an
    experiment's name (commands that read the registry) MLflow's default experiment stands in.
    TrackingError if the server doesn't answer within seconds, or the experiment was deleted.
    """
    return (retried(_open) if is_server(uri) else _open)(uri, experiment, workspace)


def _open(uri: str, experiment: str | None, workspace: Path) -> Tracking:
    path = workspace / "mlflow.lock" if is_server(uri) else sqlite_path(uri).with_suffix(".lock")
    with mlflow_errors(f"be opened at {mask_credentials(uri)}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=LOCK_TIMEOUT_S):
            client = _connect_server(uri) if is_server(uri) else _connect_database(uri)
            client.search_registered_models(max_results=1)  # the registry has a store of its own to set up
            folder = None if is_server(uri) else workspace.resolve() / "artifacts"
            identifier = _experiment_id(client, experiment, folder) if experiment else DEFAULT_EXPERIMENT_ID
    return Tracking(uri, identifier, client, path)


def _connect_server(uri: str) -> mlflow.MlflowClient:
    """Ask briefly whether anything answers, before MLflow's own client waits longer."""
    address = httpx.URL(uri).copy_with(username=None, password=None)  # httpx logs what it asks for
    httpx.get(f"{address}/health", timeout=PROBE_TIMEOUT_S)
    return cast(mlflow.MlflowClient, _Client(uri))


def _connect_database(uri: str) -> mlflow.MlflowClient:
    """Let readers and writers work side by side (WAL); bring the tables of an older MLflow up to date."""
    path = sqlite_path(uri)
    if not path.exists():  # a kill in the middle of MLflow's own beginning leaves half of the tables, for good
        with scratch_folder(path.parent) as folder:  # SQLite's own files beside it go with the folder
            mlflow.db.upgrade.main([sqlite_uri(folder / path.name)], standalone_mode=False)
            write_bytes(path, folder.joinpath(path.name).read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        outdated = _is_outdated(connection)
        if outdated:
            copy = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
            logger.warning("%s comes from an older MLflow: its tables are changed, copy: %s", path, copy)
            connection.execute("VACUUM INTO ?", (str(copy),))
    if outdated:
        mlflow.db.upgrade.main([uri], standalone_mode=False)
    return cast(mlflow.MlflowClient, _Client(uri))


def _is_outdated(connection: sqlite3.Connection) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "alembic_version" not in tables:
        return False
    revisions = {revision for (revision,) in connection.execute("SELECT version_num FROM alembic_version")}
    scripts = alembic.script.ScriptDirectory(mlflow.store.db_migrations.__path__[0])
    return not revisions & set(scripts.get_heads())


def _experiment_id(client: mlflow.MlflowClient, name: str, folder: Path | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = (folder / name).as_uri() if folder else None
        try:
            return client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_KIND)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)  # another machine was quicker
    assert experiment is not None
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the MLflow experiment {name} was deleted",
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` brings it back;"
            " or name another one as tracking.experiment",
        )
    for key, value in EXPERIMENT_KIND.items():
        if key not in experiment.tags:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)
