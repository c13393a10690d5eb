"""Prefect's process worker, which leaves no run behind as running when it is stopped.

Prefect's own kills its runs' processes together with itself, so that nobody reports their end. This one takes no
more runs, asks those it has to end, waits until they have said so, hands them back to be started again, and goes.
"""

import abc
import asyncio
import contextlib
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio.abc
import httpx
import psutil
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from flows.automations import (
    ASKED_TO_END,
    HANDED_BACK,
    MOST_STARTS,
    SERVER_S,
    start_killed_again,
    was_killed,
)
from flows.flow_process import MODULE
from flows.ghosts import close_dead_runs
from rnnpipe.errors import ServiceError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.client.schemas.responses import WorkerFlowRunResponse

logger = logging.getLogger("rnnpipe.worker")

PATIENCE_S = 60.0  # what a run gets to end by itself; a training that is asked to end writes a checkpoint
POLL_S = 0.1


class FlowProcess(ProcessJobConfiguration):
    """How a flow run's process is started: in the worker's folder, and bound to the worker."""

    def prepare_for_flow_run(self, *arguments: Any, **options: Any) -> None:
        """Set the command and the folder where the deployment leaves them open."""
        command = [sys.executable, "-P", "-m", MODULE, str(os.getpid())]
        self.command = self.command or command_to_string(command)
        self.working_dir = self.working_dir or Path.cwd()
        super().prepare_for_flow_run(*arguments, **options)


@dataclass(eq=False)
class Attempt:
    """A flow run under way, and its process once that is known: it hears what Prefect's task status is told."""

    flow_run_id: UUID
    told: anyio.abc.TaskStatus[int]
    process: psutil.Process | None = None

    def started(self, value: int | None = None) -> None:
        """Take the process id."""
        assert value is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process = psutil.Process(value)
        self.told.started(value)

    def send(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.send_signal(number)


class FlowWorker(ProcessWorker, abc.ABC):  # as an ABC it isn't entered as Prefect's worker for this type of pool
    """A process worker that can be stopped without losing sight of its runs."""

    job_configuration = FlowProcess

    def __init__(self, pool: str, limit: int) -> None:
        name = f"{platform.node()}-{os.getpid()}"
        super().__init__(work_pool_name=pool, name=name, limit=limit)
        self._stopping = False
        self._running: set[Attempt] = set()
        self._cancelled: set[UUID] = set()

    async def _get_scheduled_flow_runs(self) -> "list[WorkerFlowRunResponse]":
        """Return the runs that are due; none while stopping, and none whose last attempt isn't quite over."""
        if self._stopping:
            return []
        busy = {attempt.flow_run_id for attempt in self._running}
        return [due for due in await super()._get_scheduled_flow_runs() if due.flow_run.id not in busy]

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run in a process of its own, until its end is known to the server.

        RuntimeError for one that has crashed too often: it may die before Prefect counts it as started.
        """
        crashes = [state for state in await self.client.read_flow_run_states(flow_run.id) if state.is_crashed()]
        if sum(state.message != ASKED_TO_END for state in crashes) >= MOST_STARTS:
            raise RuntimeError(f"it has crashed {len(crashes)} times")
        attempt = Attempt(flow_run.id, task_status or anyio.TASK_STATUS_IGNORED)
        self._running.add(attempt)
        try:
            result = await super().run(flow_run, configuration, attempt)
            if result.status_code and not self._stopping:
                await self._hand_back(flow_run.id)
            # Prefect has told the server how it ended, and would tell it again: of a run that was started since
            return result.model_copy(update={"status_code": 0})
        finally:
            self._running.remove(attempt)

    async def end_runs(self) -> int:
        """Take no more runs, end those under way and hand them back; return how many were handed back."""
        self._stopping = True
        ended: set[UUID] = set()
        asked: set[Attempt] = set()
        deadline = time.monotonic() + PATIENCE_S
        while self._running or (self._submitting_flow_run_ids and time.monotonic() < deadline):
            for attempt in [attempt for attempt in self._running if attempt.process]:
                if attempt not in asked:
                    asked.add(attempt)
                    state = await self._state_of(attempt.flow_run_id)
                    if state is None or not state.is_final():  # else it is sending the last states of its tasks
                        attempt.send(signal.SIGTERM)
                    if state is not None and state.is_cancelling():
                        self._cancelled.add(attempt.flow_run_id)
                    ended.add(attempt.flow_run_id)
                elif time.monotonic() > deadline:
                    attempt.send(signal.SIGKILL)
            await asyncio.sleep(POLL_S)
        return sum(await asyncio.gather(*map(self._hand_back, ended)))

    async def _state_of(self, flow_run_id: UUID) -> "State | None":
        """Return a run's state; None where the server doesn't say, or doesn't know the run any more."""
        with contextlib.suppress(httpx.HTTPError, ObjectNotFound):
            return (await self.client.read_flow_run(flow_run_id)).state
        return None

    async def _hand_back(self, flow_run_id: UUID) -> bool:
        """Let a run that was killed or stopped be started again; one that ended by itself is left alone.

        The server's automation does so too; but not if it was one crash too many, though being stopped is none,
        and not where the server lost the event, as it does on SQLite when that is busy.
        """
        deadline = time.monotonic() + SERVER_S
        try:
            while (state := await self._state_of(flow_run_id)) and state.is_crashed():
                if flow_run_id in self._cancelled:  # it ended as a crash, since it was asked to end
                    await self.client.set_flow_run_state(flow_run_id, Cancelled(), force=True)
                    return False
                if not was_killed(state.message):
                    return False
                await asyncio.sleep(POLL_S)
                if time.monotonic() > deadline:
                    await self.client.set_flow_run_state(flow_run_id, AwaitingRetry(message=HANDED_BACK))
                    return True
        except (httpx.HTTPError, ObjectNotFound) as error:
            logger.warning("the flow run %s can't be handed back (%s)", flow_run_id, type(error).__name__)
            return False
        return bool(state and not state.is_final())


def work(workspace: Path, pool: str, limit: int, tell: Callable[[str], None]) -> int:
    """Take runs from a work pool until SIGTERM or SIGINT, and return its number; nothing is left running."""
    _check_pool(pool)
    close_dead_runs(workspace)
    start_killed_again(pool)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return asyncio.run(_work(FlowWorker(pool, limit), tell))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_pool(name: str) -> None:
    with contextlib.suppress(ObjectNotFound), get_client(sync_client=True) as client:  # else the worker makes it
        pool = client.read_work_pool(name)
        if pool.type != FlowWorker.type:
            raise ServiceError(
                f"the work pool {name} is of type {pool.type}, for which this is no worker",
                f"prefect worker start --pool {name}",
            )


async def _work(worker: FlowWorker, tell: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def ask(number: int) -> None:
        if not stop.done():
            stop.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    working = asyncio.ensure_future(worker.start(printer=lambda text: None))
    tell(f"the worker takes runs from the work pool {worker._work_pool_name}; Ctrl-C stops it")
    futures: set[asyncio.Future[Any]] = {working, stop}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()  # raises what ended it
        return 0
    tell("the worker stops: its runs end first")
    handed_back = await worker.end_runs()
    working.cancel()
    await asyncio.wait({working})
    tell(f"the worker has stopped; {handed_back} runs wait for the next one to go on with them")
    return stop.result()
