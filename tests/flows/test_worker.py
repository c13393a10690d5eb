"""Workers and runs that are stopped and killed: the states are true, nothing is left, and the run goes on."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from workspaces import ROOT, Done, Workspace, ask, done, remove_all, set_state, start_run, states, wait_for

from flows.automations import MOST_STARTS, SILENCE_S
from flows.flow_process import MODULE
from flows.server import running_url
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.training.journal import epochs_of, read_journal

EPOCHS = 400
TO_CLOSE_S = 30.0
PARAMETERS: dict[str, Any] = {
    "name": "long",
    "data": {"name": "digits", "limit": 300},
    "variants": [{"name": "gru", "hidden_size": 16, "num_layers": 1}],
    "training": {"epochs": EPOCHS, "batch_size": 8, "preflight": False},
    "evaluation": {"latency_repeats": 10},
    "registry": {"register_model": False},
}


def file_of(workspace: Workspace) -> Path:
    """Return the shipped file under another name, without what runs by itself."""
    values = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    values["name"] = "working"
    values["deployments"] = [each for each in values["deployments"] if each["name"] in {"pipeline", "demos"}]
    for each in values["deployments"]:
        each["concurrency_limit"] = {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    path = workspace.folder / "working.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def task_states(url: str, run: str) -> set[str]:
    found = ask(url, "task_runs/filter", flow_runs={"id": {"any_": [run]}})
    return {task_run["state"]["type"] for task_run in found}


def flow_processes(workspace: Workspace) -> list[psutil.Process]:
    return [process for process in workspace.processes() if MODULE in process.cmdline()]


def resumed_at(workspace: Workspace) -> list[int]:
    """Return the steps after which the only training went on, oldest first."""
    (folder,) = (path for path in workspace.home.glob("store/trainings/*/") if path.is_dir())
    return [event["step"] for event in read_journal(folder) if event["event"] == "resumed"]


def epochs_behind(workspace: Workspace) -> int:
    return max(
        (len(epochs_of(read_journal(path))) for path in workspace.home.glob("store/trainings/*/")), default=0
    )


@contextlib.contextmanager
def working(own: Workspace, output: Any, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """Start a command that works until it is told to stop; it is gone after the block."""
    command = [sys.executable, "-m", "rnnpipe", *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=own.folder, env=own.environment, stdout=output, stderr=output, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_runs_what_is_due_and_leaves_when_told(workspace: Workspace, call: Callable[..., Done]) -> None:
    before, url = {process.pid for process in workspace.processes()}, str(running_url(workspace.home))
    assert call("deploy", "--file", file_of(workspace)).code == 0
    hopeless = start_run(url, "demos", {})
    for _ in range(MOST_STARTS):
        set_state(url, hopeless, "CRASHED", "Process exited with status code: 1.")
        set_state(url, hopeless, "SCHEDULED")
    with workspace.start("worker", "--limit", 1) as worker:
        run = start_run(url, "demos", {})
        wait_for(lambda: states(url, run)[-1] == "Completed" or worker.poll() is not None)
        wait_for(lambda: states(url, hopeless)[-1] == "Crashed")  # taken once more, and not started again
        worker.send_signal(signal.SIGTERM)
        ended = done(worker)
    assert ended.code == 143 and "the worker has stopped; 0 runs wait" in ended.out, ended.err
    assert {process.pid for process in workspace.processes()} == before
    remove_all(url, "deployments")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with a Prefect server of its own, in which nothing lives after the test."""
    own = Workspace(tmp_path)
    assert own.rnnpipe("up").code == 0
    yield own
    own.rnnpipe("down")
    for process in own.processes():
        stop_process(process)


@pytest.fixture
def output(own: Workspace) -> Iterator[Any]:
    """A file for what the workers say, which is more than a pipe holds."""
    with (own.folder / "workers.log").open("a+", encoding="utf-8") as file:
        yield file


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_goes_on_after_its_worker_was_stopped_and_its_process_killed(own: Workspace, output: Any) -> None:
    url, file = str(running_url(own.home)), file_of(own)
    with working(own, output, "serve", "--file", file) as worker:
        wait_for(lambda: ask(url, "deployments/filter", deployments={"name": {"any_": ["pipeline"]}}))
        run = start_run(url, "pipeline", PARAMETERS)
        wait_for(lambda: epochs_behind(own) >= 2)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 143
    assert not flow_processes(own)
    assert not list((own.home / "prefect" / "runs").glob("*.lock")), "it would count as a run whose process died"
    wait_for(lambda: states(url, run)[-1] == "AwaitingRetry", TO_CLOSE_S)
    first, *others = states(url, run)[states(url, run).index("Running") + 1 :]
    assert first == "Crashed" and set(others) == {"AwaitingRetry"}
    assert "RUNNING" not in task_states(url, run)

    with working(own, output, "worker") as worker:
        wait_for(lambda: len(resumed_at(own)) == 1)
        behind = epochs_behind(own)
        wait_for(lambda: epochs_behind(own) > behind)
        (process,) = flow_processes(own)
        process.kill()
        wait_for(lambda: states(url, run).count("Crashed") == 2, TO_CLOSE_S)
        wait_for(lambda: len(resumed_at(own)) == 2)  # the same worker took it again
        wait_for(lambda: states(url, run)[-1] == "Completed")
        # the killed process' slot is free: with it taken, one more run would be cancelled
        again = start_run(url, "pipeline", PARAMETERS)
        wait_for(lambda: states(url, again)[-1] in {"Completed", "Cancelled"})
        worker.send_signal(signal.SIGINT)
        assert worker.wait(60) == 0
    first, second = resumed_at(own)
    assert 0 < first < second
    assert states(url, run).count("Running") == 3 and states(url, again)[-1] == "Completed"
    assert task_states(url, run) <= {"COMPLETED", "CRASHED", "FAILED"}
    (folder,) = (path for path in own.home.glob("store/trainings/*/") if path.is_dir())
    assert [event["epoch"] for event in epochs_of(read_journal(folder))] == list(range(1, EPOCHS + 1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_goes_on_after_its_worker_was_killed(own: Workspace, output: Any) -> None:
    url = str(running_url(own.home))
    assert own.rnnpipe("deploy", "--file", file_of(own)).code == 0
    with working(own, output, "worker") as worker:
        run = start_run(url, "pipeline", PARAMETERS)
        wait_for(lambda: epochs_behind(own) >= 2)
        worker.kill()
    wait_for(lambda: states(url, run)[-1] == "AwaitingRetry", TO_CLOSE_S)  # its process saw the worker die
    wait_for(lambda: not flow_processes(own), TO_CLOSE_S)

    with working(own, output, "worker") as worker:
        wait_for(lambda: len(resumed_at(own)) == 1)
        (process,) = flow_processes(own)
        worker.kill()
        process.kill()  # nobody is left who could tell
        killed = time.monotonic()
    wait_for(lambda: states(url, run).count("Crashed") == 2, 2 * SILENCE_S)
    assert time.monotonic() - killed > SILENCE_S / 2

    with working(own, output, "worker") as worker:
        wait_for(lambda: states(url, run)[-1] == "Completed")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 143
    wait_for(
        lambda: task_states(url, run) <= {"COMPLETED", "CRASHED"}, TO_CLOSE_S
    )  # the server records them later
    first, second = resumed_at(own)
    assert 0 < first <= second
