"""A run whose device another run holds: it waits and says for whom, or gives up and names the holder."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from workspaces import Done, Workspace, ask, wait_for

from flows.server import running_url
from rnnpipe.cli.progress import PlainProgress
from rnnpipe.config import load_config
from rnnpipe.config.execution import NO_KERNELS
from rnnpipe.errors import DeviceError
from rnnpipe.processes.slots import Job, cpu_cores, device_slot
from rnnpipe.store import MANIFEST

# the workspace is shared: its first run is another, and what is left unfinished here would be gone on with there
pytestmark = pytest.mark.usefixtures("first_run")
ONE_NET = {
    "variants": [{"name": "single-neuron"}], "registry": {"register_model": False},
    "tracking": {"experiment": "busy"},
}  # fmt: skip
HELD = f"cpu, held by nightly gru seed 0 (run ab12, process {os.getpid()} on "


@pytest.fixture
def let_go(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[threading.Event]:
    """An event that ends the hold on all cores that another run has."""
    monkeypatch.setenv("RNNPIPE_LOCKS", workspace.environment["RNNPIPE_LOCKS"])
    (tmp_path / "log").mkdir()
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        with device_slot("cpu", Job("nightly gru seed 0", "ab12", threads=cpu_cores()), tmp_path):
            held.set()
            end.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    yield end
    end.set()
    holder.join()


def test_a_run_that_waits_says_for_whom(
    workspace: Workspace, call: Callable[..., Done], let_go: threading.Event
) -> None:
    def logged() -> list[str]:
        logs = ask(str(running_url(workspace.home)), "logs/filter", sort="TIMESTAMP_DESC", limit=50)
        return [log["message"] for log in logs if f" waits for {HELD}" in log["message"]]

    def let_go_once_it_is_logged() -> None:
        try:
            wait_for(logged, timeout_s=60)
        finally:
            let_go.set()

    with ThreadPoolExecutor() as threads:
        watcher = threads.submit(let_go_once_it_is_logged)
        done = call("run", workspace.config("patient", **ONE_NET, seeds=[4]))
        watcher.result()
    assert done.code == 0, done.err
    assert f"single-neuron s4  waits for {HELD}" in done.out
    assert [message.partition(" waits for ")[0] for message in logged()] == ["single-neuron s4"]


def test_a_run_that_is_not_to_wait_gives_up_and_names_the_holder(
    workspace: Workspace, call: Callable[..., Done], let_go: threading.Event
) -> None:
    config = workspace.config("hasty", **ONE_NET, seeds=[5, 6], execution={"when_busy": "give-up"})
    done = call("run", config)
    assert done.code == 7
    assert f"would have to wait for {HELD}" in done.err and "fix: run it again later" in done.err
    for folder in [each for each in workspace.home.glob("store/trainings/*/") if not (each / MANIFEST).exists()]:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("_prefect_knows_the_server")
def test_a_run_that_has_had_the_device_gives_up_no_more(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.session import Session  # Prefect reads its settings when it is imported

    monkeypatch.setenv("RNNPIPE_HOME", str(workspace.home))
    config = load_config(workspace.config("hasty", execution={"when_busy": "give-up"}))
    session = Session(PlainProgress())
    with pytest.raises(DeviceError, match="gru s0 would have to wait for cpu, held by b"):
        session.waits("gru s0", "cpu, held by b", config)
    session.had_the_device = True
    for label in ("gru s1", "gru s2", "gru s3"):
        session.waits(label, "cpu, held by c", config)
    session.waits("gru s2", "cpu, held by d", config)
    assert capsys.readouterr().out.splitlines() == [
        "gru s1  waits for cpu, held by c", "gru s2  waits for cpu, held by d",
    ]  # fmt: skip


@pytest.mark.usefixtures("_prefect_knows_the_server")
def test_how_threads_were_chosen_is_said_where_nobody_asked_for_a_number(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.session import Session  # Prefect reads its settings when it is imported

    monkeypatch.setenv("RNNPIPE_HOME", str(workspace.home))
    session = Session(PlainProgress())
    shared = "1 thread: 3 trainings share 2 cores"
    auto, fixed = (load_config(workspace.config("said", execution={"threads": n})) for n in ("auto", 1))
    for label, reason in (("gru s0", shared), ("gru s1", shared), ("gru s2", "2 threads: 5.1 ms an update")):
        session.training(label, {"event": "start", "threads_reason": reason}, auto)
        session.training(label, {"event": "start", "threads_reason": "asked for as 1"}, fixed)
    assert capsys.readouterr().out.splitlines() == [f"gru s0  {shared}", "gru s2  2 threads: 5.1 ms an update"]


@pytest.mark.usefixtures("_prefect_knows_the_server")
def test_that_kernels_are_missing_is_said_in_one_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.session import Session  # Prefect reads its settings when it is imported

    monkeypatch.setenv("RNNPIPE_HOME", str(workspace.home))
    session, config = Session(PlainProgress()), load_config(workspace.config("said", execution={"threads": 1}))
    missing = f"torch: {NO_KERNELS}no compiler is there (cc, gcc, clang)"
    reasons = {
        "basic s0": "torch: the net is written in torch, step by step",
        "gru s0": missing,
        "lstm s0": missing,
    }
    for label, reason in reasons.items():
        session.training(label, {"event": "start", "threads_reason": "", "kernels_reason": reason}, config)
    assert capsys.readouterr().out.splitlines() == [f"gru s0  kernels: {missing}"]
