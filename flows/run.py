"""Running a flow from the command line: with Prefect if it can be had, without where not; nothing lost or left."""

import contextlib
import functools
import importlib
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from flows.ahead import start_ahead
from flows.environment import set_defaults
from flows.progress import Progress
from flows.reaching import problem_of
from flows.server import prefect_server, service_folder
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import RnnpipeError, ServiceError
from rnnpipe.files import SCRATCH, sweep_temporaries
from rnnpipe.processes.importing import importing
from rnnpipe.store import workspace_root

DRAIN_TIMEOUT_S = 60.0
INTERRUPTED_TIMEOUT_S = 5.0

logger = logging.getLogger("rnnpipe.run")


def run_flow(target: str, progress: Progress, config: PipelineConfig | None = None, **parameters: Any) -> Any:
    """Run the flow that "module:function" names and return its result, once the server knows all task states.

    With PREFECT_API_URL that server is used, else one of the workspace that is started and stopped as needed.
    Where Prefect can't be reached, at first or any more, the same is done without it, and that is said.
    With a config, its sections are the parameters, and what its run needs is started beside the server.
    """
    workspace = open_workspace()
    set_defaults(workspace)
    load = functools.cache(lambda: _load(target, progress, config))
    if config is not None:
        parameters |= {name: getattr(config, name) for name in type(config).model_fields}
    try:
        return _run_in_prefect(load, parameters, workspace)
    except ServiceError as problem:
        logger.warning(
            "%s; the run goes on without Prefect, whose pages don't show it. %s", problem.message, problem.fix
        )
        os.environ.pop("PREFECT_API_URL", None)  # Prefect's own settings would refuse one that is no address
    return load().fn(**parameters)


def open_workspace() -> Path:
    """Return the workspace, made if it isn't there, without what killed processes left half-written."""
    workspace = workspace_root()
    workspace.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(workspace)
    sweep_temporaries(Path(tempfile.gettempdir()), SCRATCH)
    return workspace


def _load(target: str, progress: Progress, config: PipelineConfig | None) -> Any:
    if config is not None:
        start_ahead(config)  # it has the longest way
    module, _, name = target.partition(":")
    with importing():
        flow = getattr(importlib.import_module(module), name)
        import scipy.stats  # noqa: F401 (of every leaderboard; the server takes longer)

        from flows.session import show_progress_on
    show_progress_on(progress)
    return flow


def _run_in_prefect(load: Callable[[], Any], parameters: dict[str, Any], workspace: Path) -> Any:
    """Run a flow in Prefect; ServiceError where Prefect, and nothing else, is what failed."""
    is_own = "PREFECT_API_URL" not in os.environ
    with prefect_server(workspace, while_starting=load) as url:
        from flows.letting_go import hold_on, let_go, without_heartbeats
        from flows.running import submitted

        hold_on()
        try:
            with without_heartbeats() if is_own else contextlib.nullcontext():
                result = load()(**parameters, return_state=True).result(raise_on_failure=False)
            if isinstance(result, BaseException):
                raise result
        except Exception as error:
            if isinstance(error, RnnpipeError) or (problem := problem_of(url)) is None:
                _drain_quietly(INTERRUPTED_TIMEOUT_S)
                raise
            let_go()
            raise problem from error
        except BaseException:
            _drain_quietly(INTERRUPTED_TIMEOUT_S)
            raise
        if left := _drain_quietly(DRAIN_TIMEOUT_S):
            output = service_folder(workspace) / "output.log"
            logger.warning("Prefect didn't record the end of %d tasks; look at %s", left, output)
        submitted.clear()
        return result


def _drain_quietly(timeout_s: float) -> int:
    """Wait as `drain` does; a server that is gone has recorded nothing more."""
    from flows.running import submitted

    try:
        return drain(submitted, timeout_s)
    except httpx.HTTPError:
        return len(submitted)


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
