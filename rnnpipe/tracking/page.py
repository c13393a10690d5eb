"""MLflow's servers, as command lines: the lean page of a workspace, and the one that answers for a model."""

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


def model_server_command(uri: str, model_uri: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return command line and environment of the server of a model, with the packages that are installed here."""
    command = [
        sys.executable, "-P", "-m", "mlflow", "models", "serve", "--model-uri", model_uri,
        "--env-manager", "local", "--host", HOST, "--port", str(port),
    ]  # fmt: skip
    # it looks for uvicorn on the path, where that of another environment may come first
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    no_log = {"UVICORN_ACCESS_LOG": "false"}  # of every request: it would only grow
    return command, {**os.environ, **LEAN, **no_log, "MLFLOW_TRACKING_URI": uri, "PATH": path}
