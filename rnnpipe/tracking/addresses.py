"""Which MLflow is meant: the tracking URI from config, environment or workspace. Imports no MLflow."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import TrackingError

DATABASE_NAME = "mlflow.db"
SQLITE_PREFIX = "sqlite:///"


def resolve_uri(configured: str | None, workspace: Path) -> str:
    """Return the tracking URI: the config's, else MLFLOW_TRACKING_URI, else the workspace's own database.

    A relative SQLite path is made absolute, so that processes in other folders mean the same file.
    TrackingError for anything but sqlite and http(s).
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(workspace / DATABASE_NAME)
    if is_server(uri) and _host(uri):
        return uri.rstrip("/")
    if uri.startswith(SQLITE_PREFIX) and (path := uri.removeprefix(SQLITE_PREFIX)):
        return sqlite_uri(Path(path))
    raise TrackingError(
        f"rnnpipe keeps no runs at {mask_credentials(uri)}: MLflow's folder stores are no longer"
        " maintained, and other stores untested",
        "set tracking.uri (or MLFLOW_TRACKING_URI) to sqlite:////absolute/path/mlflow.db or to the http"
        " address of an MLflow server; `mlflow migrate-filestore` moves the runs of a folder",
    )


def sqlite_uri(path: Path) -> str:
    """Return the URI of an SQLite file; TrackingError for a path that can't stand in one."""
    text = path.expanduser().resolve().as_posix()
    if "%" in text or "?" in text:
        raise TrackingError(f"an SQLite URI can't name {text}", "use a path without % and ?")
    return f"{SQLITE_PREFIX}{text}"


def sqlite_path(uri: str) -> Path:
    """Return the file of an SQLite URI."""
    return Path(uri.removeprefix(SQLITE_PREFIX))


def _host(uri: str) -> str | None:
    try:
        return urlsplit(uri).hostname
    except ValueError:  # brackets without an IPv6 address in them
        return None


def is_server(uri: str) -> bool:
    """Say whether the URI is that of an MLflow server."""
    return uri.startswith(("http://", "https://"))
