"""Flow runs whose process is dead, but which Prefect still believes to run: told from the living by an OS lock.

A run that Prefect has started again is another attempt of the same flow run: each has a lock of its own.
"""

import atexit
import contextlib
import logging
from pathlib import Path
from uuid import UUID

from filelock import FileLock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from rnnpipe.processes.lifetime import is_held

MESSAGE = "its process died"

logger = logging.getLogger("rnnpipe.ghosts")

_held: list[FileLock] = []  # until the process ends


def hold_run(workspace: Path, flow_run_id: str, attempt: int) -> None:
    """Hold the lock that tells that the process of a flow run's attempt is alive, as long as it is.

    It is gone only at an orderly end: by then Prefect has been told how run and tasks ended.
    """
    path = _folder(workspace) / f"{flow_run_id}.{attempt}.lock"
    lock = FileLock(path)
    with _registry(workspace):
        lock.acquire()
    atexit.register(path.unlink, missing_ok=True)
    _held.append(lock)


def close_dead_runs(workspace: Path) -> None:
    """Set the flow runs of dead processes, and their tasks, to Crashed."""
    with _registry(workspace):
        dead = [path for path in _folder(workspace).glob("*.lock") if not is_held(path)]
    if not dead:
        return
    with get_client(sync_client=True) as client:
        for path in dead:
            flow_run_id, _, attempt = path.stem.partition(".")
            with contextlib.suppress(ObjectNotFound):  # it ran on another server
                _close(client, UUID(flow_run_id), int(attempt))
            path.unlink(missing_ok=True)


def _close(client: SyncPrefectClient, flow_run_id: UUID, attempt: int) -> None:
    run = client.read_flow_run(flow_run_id)
    this = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    for task_run in client.read_task_runs(flow_run_filter=this):
        is_open = task_run.state is not None and not task_run.state.is_final()
        if is_open and task_run.flow_run_run_count <= attempt:
            client.set_task_run_state(task_run.id, Crashed(message=MESSAGE), force=True)
    if run.state is None or run.run_count > attempt:  # it was started again
        return
    if run.state.is_cancelling():
        client.set_flow_run_state(flow_run_id, Cancelled(message=MESSAGE), force=True)
    elif run.state.is_running():
        client.set_flow_run_state(flow_run_id, Crashed(message=MESSAGE), force=True)
        logger.warning("the flow run %s was still open: %s", run.name, MESSAGE)


def _registry(workspace: Path) -> FileLock:
    """Return the lock under which runs come and the dead are looked for."""
    return FileLock(_folder(workspace) / "registry", is_singleton=False)


def _folder(workspace: Path) -> Path:
    folder = workspace / "prefect" / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
