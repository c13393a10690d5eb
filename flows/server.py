"""The workspace's own Prefect server: started when none is named, shared by all runs, stopped after the last."""

import contextlib
import functools
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
from filelock import FileLock, Timeout

from flows.environment import prefect_home
from flows.reaching import OF_THE_USER, answers, check_api
from flows.tables import bring_tables, keep_tables
from rnnpipe.errors import ServiceError
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.service import (
    KEEP,
    is_running,
    is_wanted,
    keeper_of,
    start_keeper,
    using,
    wait_until_stopped,
)

HOST = "127.0.0.1"
USUAL_PORT = 4200  # links to flow runs are kept in MLflow, so the address had better stay the same
START_TIMEOUT_S = 90.0
ADDRESS_FILE = "address.json"


def service_folder(workspace: Path) -> Path:
    """Return the folder of the server's process: its users, its address, its output."""
    return prefect_home(workspace) / "server"


@contextlib.contextmanager
def prefect_server(workspace: Path, while_starting: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Yield the URL of the Prefect API: PREFECT_API_URL, else the workspace's own server, held while used.

    `while_starting` is called once PREFECT_API_URL is set, beside the start of the server.
    When the last user leaves, the server is stopped, and this waits until it is gone. ServiceError if it doesn't
    come up, or if PREFECT_API_URL can't be reached.
    """
    if url := os.environ.get("PREFECT_API_URL"):
        check_api(url, OF_THE_USER)
        yield url
        return
    folder = service_folder(workspace)
    with using(folder):
        url = start_server(workspace)
        os.environ["PREFECT_API_URL"] = url
        try:
            while_starting()
            wait_until_healthy(workspace, url)
            yield url
        finally:
            del os.environ["PREFECT_API_URL"]
    if not is_wanted(folder) and not wait_until_stopped(folder):
        raise ServiceError("the Prefect server doesn't stop", f"see {folder / 'output.log'}")


def start_server(workspace: Path) -> str:
    """Return the API URL of the workspace's server, started if need be, up soon; the caller holds or keeps it."""
    folder = service_folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "start.lock"):
        return running_url(workspace) or _start(workspace, folder)


def ui_url(api_url: str) -> str:
    """Return the address of the server's page."""
    return api_url.removesuffix("/api")


def running_url(workspace: Path) -> str | None:
    """Return the API URL of the workspace's server if it runs."""
    folder = service_folder(workspace)
    return str(read_json(folder / ADDRESS_FILE)["url"]) if is_running(folder) else None


def keep_server(workspace: Path) -> str:
    """Start the workspace's server, keep it when this process ends, and return its API URL."""
    folder = service_folder(workspace)
    with using(folder):
        url = start_server(workspace)
        wait_until_healthy(workspace, url)
        (folder / KEEP).touch()
    return url


def stop_server(workspace: Path) -> str:
    """Stop keeping the workspace's server and wait until it is gone; return what happened, in words."""
    folder = service_folder(workspace)
    (folder / KEEP).unlink(missing_ok=True)
    if keeper_of(folder) is None:
        return "no Prefect server of this workspace is running"
    if is_wanted(folder):
        return "a run uses the Prefect server; it stops when that ends"
    if not wait_until_stopped(folder):
        raise ServiceError("the Prefect server doesn't stop", f"see {folder / 'output.log'}")
    return "the Prefect server is stopped"


def _start(workspace: Path, folder: Path) -> str:
    port = _choose_port()
    url = f"http://{HOST}:{port}/api"
    write_json(folder / ADDRESS_FILE, {"url": url})
    environment = {
        **os.environ,
        "PREFECT_HOME": str(prefect_home(workspace)),
        "PREFECT_UI_API_URL": url,
        # else any page in the user's browser could ask this server to run something
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ui_url(url),
    }
    command = [sys.executable, "-P", "-m", "flows.prefect_process", "start", "--host", HOST, "--port", str(port)]
    bring_tables(prefect_home(workspace))
    start_keeper(folder, command, environment)
    return url


@functools.cache
def _claim_on_the_usual_port() -> FileLock:
    """Return the lock that says: this process has started, or is starting, a server on the usual port."""
    return FileLock(Path(tempfile.gettempdir()) / f"rnnpipe-prefect-{USUAL_PORT}-{os.getuid()}.lock")


def _choose_port() -> int:
    """Return the usual port; a free one where that is taken, or about to be: a server needs seconds to listen."""
    with contextlib.suppress(Timeout, OSError):
        _claim_on_the_usual_port().acquire(blocking=False)
        return _bind(USUAL_PORT)
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])


def wait_until_healthy(workspace: Path, url: str) -> None:
    """Wait until the server answers; ServiceError if it ends instead, or takes too long."""
    folder = service_folder(workspace)
    deadline, seen = time.monotonic() + START_TIMEOUT_S, False
    while time.monotonic() < deadline:
        keeper = keeper_of(folder)
        if keeper is not None and answers(url) and _listens(keeper, url):
            keep_tables(prefect_home(workspace))
            return
        if seen and keeper is None:
            break
        seen = seen or keeper is not None
        time.sleep(0.1)
    raise ServiceError("the workspace's Prefect server doesn't start", f"see {folder / 'output.log'}")


def _listens(keeper: psutil.Process, url: str) -> bool:
    """Say whether it is the keeper's server that listens at this address, and not another that was quicker."""
    port = httpx.URL(url).port
    with contextlib.suppress(psutil.Error):
        for process in keeper.children(recursive=True):
            places = process.net_connections("tcp")
            if any(each.laddr.port == port and each.status == psutil.CONN_LISTEN for each in places):
                return True
    return False
