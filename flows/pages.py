"""`rnnpipe ui`: the MLflow page and the Prefect page, served until nobody looks any more."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import httpx

from flows.environment import set_defaults
from flows.server import prefect_server, ui_url
from rnnpipe.credentials import without_credentials
from rnnpipe.errors import ServiceError
from rnnpipe.processes.service import start_keeper, using, wait_until_stopped
from rnnpipe.store import workspace_root
from rnnpipe.tracking.addresses import is_server, resolve_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.page import HOST, page_command
from rnnpipe.tracking.runs import close_ghosts
from rnnpipe.tracking.views import compared_experiments, comparison_url, experiments_url

START_TIMEOUT_S = 60.0
MAX_COMPARISONS = 5


def serve_pages(port: int, tell: Callable[[str], None]) -> NoReturn:
    """Serve both pages on loopback and tell their addresses, until KeyboardInterrupt; then both are gone."""
    workspace = workspace_root()
    set_defaults(workspace)
    uri = resolve_uri(None, workspace)
    if is_server(uri):  # it has a page of its own
        with prefect_server(workspace) as prefect_url:
            tell(f"MLflow   {experiments_url(without_credentials(uri))}")
            _tell_and_wait(prefect_url, tell)
    command, environment = page_command(workspace, port)
    _check_free(port)
    folder = workspace / "pages" / f"mlflow-{port}"  # each `ui` has a page of its own
    # the database is there, and migrated, before the server looks at it
    tracking = open_tracking(uri, None, workspace)
    close_ghosts(tracking)
    try:
        with using(folder):
            start_keeper(folder, command, environment)
            with prefect_server(workspace) as prefect_url:
                address = f"http://{HOST}:{port}"
                _wait_until_up(address, folder)
                tell(f"MLflow   {experiments_url(address)}")
                for name, number in compared_experiments(tracking)[:MAX_COMPARISONS]:
                    tell(f"  {name}, all runs side by side: {comparison_url(address, number)}")
                _tell_and_wait(prefect_url, tell)
    finally:
        wait_until_stopped(folder)


def _tell_and_wait(prefect_url: str, tell: Callable[[str], None]) -> NoReturn:
    tell(f"Prefect  {without_credentials(ui_url(prefect_url))}")
    tell("Ctrl-C stops what was started here")
    while True:
        time.sleep(1)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise ServiceError(f"port {port} is in use", f"rnnpipe ui --port {port + 1}")


def _wait_until_up(address: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{address}/health", timeout=2).is_success:
                return
        time.sleep(0.2)
    raise ServiceError("the MLflow page doesn't come up", f"see {folder / 'output.log'}")
