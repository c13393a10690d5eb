"""Two runs of one config at the same time: one trains, the other says who does, waits, and uses the result."""

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from workspaces import Workspace, done, wait_for

NO_SERVER = "http://127.0.0.1:9/api"
ONE_NET = ("--set", "variants=[{name: single-neuron}]", "--set", "registry.register_model=false")


@pytest.fixture
def own(tmp_path: Path) -> Workspace:
    """A workspace of the test's own, whose runs do without Prefect."""
    workspace = Workspace(tmp_path)
    workspace.environment["PREFECT_API_URL"] = NO_SERVER
    return workspace


@pytest.fixture
def first(own: Workspace) -> Iterator["subprocess.Popen[str]"]:
    """A run that has begun its training, and stands still."""
    with own.start("run", own.config(), *ONE_NET) as process:
        wait_for(lambda: process.poll() is not None or list(own.home.glob("store/trainings/*.holder")))
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


@pytest.mark.slow
def test_the_second_waits_for_the_first(own: Workspace, first: "subprocess.Popen[str]") -> None:
    with own.start("run", own.config(), *ONE_NET) as second, ThreadPoolExecutor() as threads:
        assert second.stderr is not None
        told = next(line for line in second.stderr if " is at work on " in line)
        first.send_signal(signal.SIGCONT)
        ends = list(threads.map(done, (first, second)))
    assert f"(process {first.pid} on " in told and "`rnnpipe run " in told and "trainings/" in told
    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    assert len(own.manifests("trainings")) == 1
    assert not list(own.home.glob("store/*/*.holder"))
