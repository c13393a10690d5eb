"""Prefect's settings for a workspace: environment variables, so set them before Prefect is imported."""

import os
from pathlib import Path

HEALTH_PATH = "/health"
DEFAULTS = {
    # nothing is sent to anybody
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # results are JSON, never pickles
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    # the library's messages stand in the run's log; the terminal shows the progress table instead
    "PREFECT_LOGGING_EXTRA_LOGGERS": "rnnpipe",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # a lost server costs five seconds a call; then the run goes on without it
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    # in memory, the leases of a limit are lost with the server and their slots never come back
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


def prefect_home(workspace: Path) -> Path:
    """Return the folder of the workspace's own Prefect server: database, results, output."""
    return workspace / "prefect"


def set_defaults(workspace: Path) -> None:
    """Set every variable that isn't set already; with PREFECT_API_URL that server is used, as it is."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    home = prefect_home(workspace)
    os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(home / "results"))
    if "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_HOME", str(home))
