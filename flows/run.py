"""Running a flow from the command line: the server it needs, and nothing lost or left when it ends."""

import importlib
import logging
import time
from typing import Any
from uuid import UUID

from flows.environment import set_defaults
from flows.progress import Progress
from flows.server import prefect_server
from rnnpipe.errors import ServiceError
from rnnpipe.store import workspace_root

DRAIN_TIMEOUT_S = 60.0


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
            return getattr(importlib.import_module(module), name)(**parameters)
        finally:
            drain(submitted)


def drain(task_run_ids: list[str]) -> None:
    """Wait until the server holds the last state of each task run, and all logs: they are sent asynchronously."""
    from prefect.client.orchestration import get_client

    for handler in logging.getLogger("prefect.flow_runs").handlers:
        handler.flush()
    deadline, waiting = time.monotonic() + DRAIN_TIMEOUT_S, list(task_run_ids)
    with get_client(sync_client=True) as client:
        while waiting:
            state = client.read_task_run(UUID(waiting[0])).state
            if state is not None and state.is_final():
                waiting.pop(0)
            elif time.monotonic() > deadline:
                raise ServiceError(
                    f"Prefect didn't record the end of {len(waiting)} tasks", "look at the server's output"
                )
            else:
                time.sleep(0.1)
