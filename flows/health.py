"""Whether the MLflow and the Prefect that a run would use are there, and hold no run of a dead process."""

import contextlib
import functools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from flows.environment import DEFAULTS, prefect_home
from flows.reaching import OF_THE_USER, check_api
from flows.server import running_url
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ServiceError, TrackingError
from rnnpipe.files import scratch_folder
from rnnpipe.processes.lifetime import is_held
from rnnpipe.tracking.addresses import is_server, resolve_uri, sqlite_path

IMPORT_TIMEOUT_S = 120.0
SERVER_MODULE = "prefect.server.api.server"


def check_mlflow(workspace: Path) -> str:
    """Say where the runs are kept and that it answers; TrackingError where it doesn't."""
    uri = resolve_uri(None, workspace)
    if not is_server(uri) and not sqlite_path(uri).exists():
        return f"{sqlite_path(uri)} isn't there yet; the first run makes it"
    from rnnpipe.tracking.client import open_tracking
    from rnnpipe.tracking.runs import find_ghosts

    if not is_server(uri):
        _check_database(sqlite_path(uri))
    with scratch_folder() as elsewhere:  # a workspace that isn't there is not made
        ghosts = find_ghosts(open_tracking(uri, None, elsewhere))
    if ghosts:
        names = ", ".join(str(run.info.run_name) for run in ghosts)
        raise TrackingError(
            f"runs still count as running though their process died: {names}", "the next `rnnpipe run` closes them"
        )
    return f"{mask_credentials(uri)} answers"


def check_prefect(workspace: Path) -> str:
    """Say which Prefect server a run would use, and that it can; ServiceError where not."""
    named = os.environ.get("PREFECT_API_URL")
    url = named or running_url(workspace)
    if url is None:
        _check_import()
        text = "no server runs; a run starts one"
    else:
        check_api(url, OF_THE_USER if named else "rnnpipe down, then rnnpipe up")
        text = f"{mask_credentials(url)} answers"
    dead = [path for path in (prefect_home(workspace) / "runs").glob("*.lock") if not is_held(path)]
    if dead:
        names = ", ".join(path.name.partition(".")[0] for path in dead)
        raise ServiceError(
            f"flow runs still count as running though their process died: {names}",
            "the next `rnnpipe run` closes them",
        )
    return text


def _check_database(path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            ((answer,), *_) = connection.execute("PRAGMA quick_check")
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        raise TrackingError(
            f"{path} is damaged: {answer}",
            "put a copy of it back, or move it away: `rnnpipe run` records in a new one what the store holds",
        )


@functools.cache
def _check_import() -> None:
    """Import Prefect's server in a process of its own: it takes seconds, and makes Prefect's folder."""
    with scratch_folder() as home:
        environment = {**os.environ, **DEFAULTS, "PREFECT_HOME": str(home)}
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"import {SERVER_MODULE}"],
            capture_output=True, text=True, check=False, timeout=IMPORT_TIMEOUT_S, env=environment,
        )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ServiceError(
            f"Prefect's server can't be imported: {reason}",
            "install the versions that rnnpipe is tested with: pip install -c constraints.txt rnnpipe",
        )
