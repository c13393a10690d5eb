"""deploy, serve, worker, announce: what the command line does with a Prefect server that stays up.

Prefect is imported when its server is known, as it reads its settings once.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from flows.environment import set_defaults
from flows.run import open_workspace
from flows.server import prefect_server, running_url
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ServiceError

if TYPE_CHECKING:
    from flows.deployment_file import DeploymentFile

Tell = Callable[[str], None]
SETTINGS = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # how often a worker asks for runs; Prefect's own is ten seconds
    "PREFECT_CLIENT_MAX_RETRIES": "5",  # a run of a worker waits for a server that restarts; it can't do without
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
}


def deploy(path: Path, tell: Tell) -> None:
    """Bring the server in line with a file of deployments, and tell what was done."""
    workspace = _prepare()
    with standing_server(workspace), prefect_errors():
        from flows.deployment_file import load_deployments

        _deploy(load_deployments(path), tell)


def serve(path: Path, limit: int, tell: Tell) -> int:
    """Deploy to the workspace's server, or PREFECT_API_URL, and execute what is due; return the ending signal."""
    workspace = _prepare()
    with prefect_server(workspace) as url, prefect_errors():
        from flows.deployment_file import load_deployments

        file = load_deployments(path)
        pools = {entry.work_pool.name for entry in file.deployments}
        if len(pools) > 1:
            raise ServiceError(
                f"the deployments are for several work pools: {', '.join(sorted(pools))}",
                "rnnpipe up, rnnpipe deploy, and a worker for each",
            )
        _deploy(file, tell)
        tell(f"Prefect's pages: {url.removesuffix('/api')}")
        from flows.worker import work

        return work(workspace, pools.pop(), limit, tell)


def run_worker(pool: str, limit: int, tell: Tell) -> int:
    """Execute the runs of a work pool until a signal, which is returned."""
    workspace = _prepare()
    with standing_server(workspace), prefect_errors():
        from flows.worker import work

        return work(workspace, pool, limit, tell)


def announce(dataset: str, note: str) -> None:
    """Tell the server that a dataset has changed."""
    workspace = _prepare()
    with standing_server(workspace), prefect_errors():
        from flows import announcements

        announcements.announce(dataset, note)


def _prepare() -> Path:
    workspace = open_workspace()
    os.environ["RNNPIPE_HOME"] = str(workspace)  # also for the processes of runs, wherever they are started
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    set_defaults(workspace)
    return workspace


def _deploy(file: "DeploymentFile", tell: Tell) -> None:
    from flows.deployments import bring_in_line

    for change in bring_in_line(file):
        tell(str(change))


@contextlib.contextmanager
def standing_server(workspace: Path) -> Iterator[str]:
    """Yield the URL of the Prefect API that is up already; ServiceError where there is none."""
    if not os.environ.get("PREFECT_API_URL") and running_url(workspace) is None:
        raise ServiceError(
            "no Prefect server is up", "rnnpipe up starts the workspace's; or set PREFECT_API_URL to yours"
        )
    with prefect_server(workspace) as url:
        yield url


@contextlib.contextmanager
def prefect_errors() -> Iterator[None]:
    """Turn what the client raises into a ServiceError."""
    url = mask_credentials(os.environ.get("PREFECT_API_URL", ""))
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise ServiceError(
                f"the Prefect server at {url} refuses this user ({status})",
                "set PREFECT_API_AUTH_STRING to user:password",
            ) from error
        raise ServiceError(f"the Prefect server at {url} refuses: {error.response.text[:500]}") from error
    except httpx.HTTPError as error:
        raise ServiceError(f"the Prefect server at {url} doesn't answer ({type(error).__name__})") from error
