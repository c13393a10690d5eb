"""Running a flow from the command line: the server it needs, and nothing lost or left when it ends."""

import contextlib
import importlib
import logging
import time
from typing import Any
from uuid import UUID

import httpx

from flows.environment import set_defaults
from flows.progress import Progress
from flows.server import prefect_server, service_folder
from rnnpipe.errors import ServiceError
from rnnpipe.store import workspace_root

DRAIN_TIMEOUT_S = 60.0
INTERRUPTED_TIMEOUT_S = 5.0


def run_flow(target: str, progress: Progress, **parameters: Any) -> Any:
    """Run the flow that "module:function" names and return its result, once the server knows all task states.

    With PREFECT_API_URL that server is used, else one of the workspace that is started and stopped as needed.
    """
    workspace = workspace_root()
    workspace.mkdir(parents=True, exist_ok=True)
    set_defaults(workspace)
    module, _, name = target.partition(":")
    with prefect_server(workspace, while_starting=lambda: importlib.import_module(module)):
        from flows.session import show_progress_on, submitted

        show_progress_on(progress)
        try:
            result = getattr(importlib.import_module(module), name)(**parameters)
        except BaseException:
            with contextlib.suppress(httpx.HTTPError):  # what went wrong may be the server
                drain(submitted, INTERRUPTED_TIMEOUT_S)
            raise
        if left := drain(submitted, DRAIN_TIMEOUT_S):
            raise ServiceError(
                f"Prefect didn't record the end of {left} tasks",
                f"look at the server's output: {service_folder(workspace) / 'output.log'}",
            )
        return result


def drain(task_run_ids: list[str], timeout_s: float) -> int:
    """Wait until the server holds the last state of each task run, and all logs: they are sent asynchronously.

    Returns how many states are still missing after `timeout_s`; a task that never started has none.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()
    deadline, waiting = time.monotonic() + timeout_s, list(task_run_ids)
    with get_client(sync_client=True) as client:
        while waiting and time.monotonic() < deadline:
            with contextlib.suppress(ObjectNotFound):
                state = client.read_task_run(UUID(waiting[0])).state
                if state is not None and state.is_final():
                    waiting.pop(0)
                    continue
            time.sleep(0.1)
    return len(waiting)
