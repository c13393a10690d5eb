"""How tasks are run: by Prefect, which shows them; where that can't be reached, by threads of this process."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from prefect import Task
from prefect.futures import PrefectFuture, PrefectWrappedFuture
from prefect.task_runners import ThreadPoolTaskRunner

from rnnpipe.processes.slots import cpu_cores

# waiting for a training costs nothing: launcher and device locks decide how many run, on any number of cores
MAX_THREADS = max(16, cpu_cores() + 1)


class Pending(Protocol):
    """A task that was submitted; a future of the standard library is one."""

    def done(self) -> bool:
        """Say whether the task has ended."""

    def result(self) -> Any:
        """Wait for the task's end and return its result; raise what it raised."""

    def exception(self) -> BaseException | None:
        """Wait for the task's end and return what it raised."""


class Runner(Protocol):
    """Runs tasks beside each other."""

    def submit(self, task: Task[..., Any], arguments: dict[str, Any]) -> Pending:
        """Run a task with these arguments."""

    def widen(self, threads: int) -> None:
        """Let so many tasks be under way at once, at least: those that wait for other machines."""

    def close(self) -> None:
        """Wait for the tasks under way; start none of the others."""


@dataclass(frozen=True)
class InPrefect:
    """A task run of Prefect."""

    future: PrefectFuture[Any]

    def done(self) -> bool:
        """Say whether the task run has ended; the server isn't asked."""
        assert isinstance(self.future, PrefectWrappedFuture)
        return bool(self.future.wrapped_future.done())

    def result(self) -> Any:
        """Wait for the task run's end and return its result; raise what it raised."""
        return self.future.result()

    def exception(self) -> BaseException | None:
        """Wait for the task run's end and return what it raised."""
        outcome = self.future.result(raise_on_failure=False)
        return outcome if isinstance(outcome, BaseException) else None


class PrefectRunner:
    """Has Prefect run the tasks, and remembers them in `submitted`: their states have to reach the server."""

    def __init__(self) -> None:
        self._wide: ThreadPoolTaskRunner[Any] | None = None

    def submit(self, task: Task[..., Any], arguments: dict[str, Any]) -> InPrefect:
        """Run a task as part of the flow run."""
        future: PrefectFuture[Any] = (
            task.submit(**arguments) if self._wide is None else self._wide.submit(task, parameters=arguments)
        )
        submitted.append(str(future.task_run_id))
        return InPrefect(future)

    def widen(self, threads: int) -> None:
        """Use a pool of our own from now on if the flow's has fewer threads."""
        if threads > MAX_THREADS and self._wide is None:
            self._wide = ThreadPoolTaskRunner(max_workers=threads)
            self._wide.__enter__()

    def close(self) -> None:
        """End the pool of our own; for tasks of its own pool the flow run waits."""
        if self._wide is not None:
            self._wide.__exit__(None, None, None)


class DirectRunner:
    """Calls the tasks' functions in threads; the store alone says what is skipped."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_THREADS, "rnnpipe-task")

    def submit(self, task: Task[..., Any], arguments: dict[str, Any]) -> Future[Any]:
        """Call a task's function."""
        return self._threads.submit(task.fn, **arguments)

    def widen(self, threads: int) -> None:
        """Use a larger pool from now on."""
        if threads > MAX_THREADS:
            self._threads.shutdown(wait=False)  # what is under way there ends
            self._threads = ThreadPoolExecutor(threads, "rnnpipe-task")

    def close(self) -> None:
        """Wait for the calls under way; make none of the others."""
        self._threads.shutdown(cancel_futures=True)


submitted: list[str] = []  # the ids of the task runs that this process had Prefect run
