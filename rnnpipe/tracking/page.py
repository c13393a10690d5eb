"""The MLflow page of a workspace: the lean server, on loopback."""

import os
import sys
from pathlib import Path

from rnnpipe.tracking.addresses import resolve_uri

HOST = "127.0.0.1"
LEAN = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes fewer
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}


def page_command(workspace: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Return command line and environment of the page of a workspace whose runs are kept in a database."""
    uri = resolve_uri(None, workspace)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", HOST, "--port", str(port),
        "--workers", "1", "--default-artifact-root", str(workspace / "artifacts"),
    ]  # fmt: skip
    return command, {**os.environ, **LEAN}
