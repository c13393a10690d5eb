"""Device slots: one training a GPU, a CPU's cores shared by threads; freed by any death; no wait unexplained."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from process_helpers import StartUser

from rnnpipe.errors import DeviceError
from rnnpipe.processes import slots
from rnnpipe.processes.slots import (
    PLACES,
    POLL_S,
    VISIBLE,
    Job,
    cpu_cores,
    device_slot,
    lock_name,
    locks_folder,
    waits_for,
)

WaitFor = Callable[..., None]
OTHER = "nightly gru seed 0"


class Holders:
    """Jobs that each hold a share of a device until they are let go."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.holding, self.ends = folder, list[str](), dict[str, threading.Event]()
        self.threads = ThreadPoolExecutor()

    def start(self, name: str, device: str = "cpu", *, run: str = "", threads: int = 1) -> Future[None]:
        (self.folder / name / "log").mkdir(parents=True)
        self.ends[name] = threading.Event()
        return self.threads.submit(self._hold, name, device, Job(name, run or name, threads))

    def _hold(self, name: str, device: str, job: Job) -> None:
        with device_slot(device, job, self.folder / name):
            self.holding.append(name)
            self.ends[name].wait()
            self.holding.remove(name)

    def end(self, name: str) -> None:
        self.ends[name].set()

    def waits_for(self, name: str) -> str | None:
        return waits_for(self.folder / name)


@pytest.fixture
def holders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Holders]:
    """Jobs on a CPU of two cores."""
    monkeypatch.setattr(slots, "cpu_cores", lambda: 2)
    holders = Holders(tmp_path)
    with holders.threads:
        yield holders
        for name in holders.ends:
            holders.end(name)


def still(is_true: Callable[[], bool]) -> bool:
    """Say whether something stays true while others look for a free slot again."""
    time.sleep(2 * POLL_S)
    return is_true()


def test_as_many_jobs_at_once_as_the_cores_carry(holders: Holders, wait_for: WaitFor) -> None:
    for name in ("a", "b"):
        holders.start(name, run="one")
    holders.start("gpu", "cuda:0")
    wait_for(lambda: sorted(holders.holding) == ["a", "b", "gpu"])
    holders.start("c", run="one")
    assert still(lambda: "c" not in holders.holding)
    holders.end("b")
    wait_for(lambda: sorted(holders.holding) == ["a", "c", "gpu"])


def test_a_job_of_two_threads_takes_two_cores_or_none(holders: Holders, wait_for: WaitFor) -> None:
    holders.start("narrow", run="one")
    wait_for(lambda: holders.holding == ["narrow"])
    holders.start("wide", run="one", threads=64)
    assert still(lambda: holders.holding == ["narrow"])
    holders.start("other", run="one")
    wait_for(lambda: "other" in holders.holding)  # what isn't enough for the wide one is not kept by it
    for name in ("narrow", "other"):
        holders.end(name)
    wait_for(lambda: holders.holding == ["wide"])
    holders.start("last", run="one")
    assert still(lambda: holders.holding == ["wide"])


def test_what_a_job_does_not_need_after_all_is_given_back(
    holders: Holders, wait_for: WaitFor, tmp_path: Path
) -> None:
    (tmp_path / "log").mkdir()
    with device_slot("cpu", Job("wide", "one", threads=2), tmp_path) as keep:
        holders.start("narrow", run="one")
        assert still(lambda: not holders.holding)
        keep(1)
        wait_for(lambda: holders.holding == ["narrow"])
        holders.start("third", run="one")
        assert still(lambda: holders.holding == ["narrow"])
    wait_for(lambda: sorted(holders.holding) == ["narrow", "third"])


def test_who_waits_says_for_whom_unless_it_is_its_own_run(holders: Holders, wait_for: WaitFor) -> None:
    holders.start("first", run="ab12")
    holders.start("sister", run="ab12")
    wait_for(lambda: len(holders.holding) == 2)
    holders.start("stranger", run="cd34")
    holders.start("third", run="ab12")
    wait_for(lambda: holders.waits_for("stranger"))
    here = f"process {os.getpid()} on "
    for told in ("cpu, held by first (run ab12, ", ", sister (run ab12, ", here, ", since "):
        assert told in str(holders.waits_for("stranger"))
    assert holders.waits_for("third") == ""
    assert holders.waits_for("first") is None
    for name in ("first", "sister", "stranger", "third"):
        holders.end(name)
    wait_for(lambda: not holders.holding)
    wait_for(lambda: not list(locks_folder().glob("*.holder")))


def test_a_device_works_for_one_run_at_a_time_though_a_core_is_free(holders: Holders, wait_for: WaitFor) -> None:
    holders.start("first", run="ab12")
    wait_for(lambda: holders.holding == ["first"])
    names = {f"of run {number}" for number in range(4)}
    for name in names:
        holders.start(name)
    assert still(lambda: holders.holding == ["first"])
    wait_for(lambda: str(holders.waits_for("of run 0")).startswith("cpu, held by first (run ab12, "))
    holders.end("first")
    while names:
        wait_for(lambda: names & set(holders.holding))
        assert still(lambda: len(holders.holding) == 1)
        (name,) = holders.holding
        names.remove(name)
        holders.end(name)


def test_trainings_of_one_run_share_a_gpu_where_that_is_asked_for(
    holders: Holders, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACES, "2")
    for name in ("a", "b", "c"):
        holders.start(name, "cuda:0", run="one", threads=4)
    wait_for(lambda: len(holders.holding) == 2)
    assert still(lambda: len(holders.holding) == 2)
    for name in list(holders.holding):
        holders.end(name)
    wait_for(lambda: len(holders.holding) == 1)
    monkeypatch.setenv(PLACES, "1")  # another run has the GPU to itself, whichever place the last one holds
    holders.start("alone", "cuda:0", run="two")
    assert still(lambda: "alone" not in holders.holding)
    for name in ("a", "b", "c"):
        holders.end(name)
    wait_for(lambda: holders.holding == ["alone"])


@pytest.mark.parametrize(
    ("visible", "device", "name"),
    [
        ("", "cpu", "cpu"),
        ("", "cuda:1", "cuda-1"),
        ("3", "cuda:0", "cuda-3"),
        ("2, 5", "cuda:1", "cuda-5"),
        ("3", "cuda:1", "cuda-1"),
        ("3", "cpu", "cpu"),
        ("3", "mps", "mps"),
    ],
)
def test_a_lock_is_named_by_the_machine_s_number_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, visible: str, device: str, name: str
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    assert lock_name(device) == name


def test_a_killed_holder_frees_the_slot_for_who_waits(
    tmp_path: Path, start_user: StartUser, holders: Holders, wait_for: WaitFor
) -> None:
    holder = start_user("process_targets:hold_slot", tmp_path)
    wait_for((tmp_path / "held").exists)
    holders.start("second", "cuda:0")
    wait_for(lambda: holders.waits_for("second"))
    told = f"cuda:0, held by {OTHER} (run ab12, process {holder.pid} on "
    assert str(holders.waits_for("second")).startswith(told)
    holder.send_signal(signal.SIGKILL)
    wait_for(lambda: holders.holding == ["second"], timeout_s=5)


def test_a_job_that_fails_frees_its_slot(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for _ in range(2):
        with contextlib.suppress(ZeroDivisionError), device_slot("cuda:0", Job("a", "r", threads=1), tmp_path):
            raise ZeroDivisionError


def test_the_cores_are_those_this_process_may_use() -> None:
    assert cpu_cores() == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def test_the_locks_are_this_user_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locks_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(DeviceError, match="belongs to another user"):
        locks_folder()
