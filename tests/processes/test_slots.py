"""Device slots: one training a GPU, freed by any death."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from process_helpers import StartUser

from rnnpipe.errors import DeviceError
from rnnpipe.processes.slots import acquire_slot, cpu_slots, locks_folder

WaitFor = Callable[..., None]


def test_a_device_has_as_many_holders_as_slots(wait_for: WaitFor) -> None:
    first = acquire_slot("cpu", 2, "a")
    second = acquire_slot("cpu", 2, "b")
    other = acquire_slot("cuda:0", 1, "c")
    assert len({first.lock_file, second.lock_file, other.lock_file}) == 3
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.append(str(acquire_slot("cpu", 2, "d").lock_file)))
    waiting.start()
    waiting.join(timeout=0.5)
    assert not got
    second.release()
    waiting.join(timeout=5)
    assert got == [str(second.lock_file)]
    first.release()
    other.release()


def test_a_killed_holder_frees_the_slot_and_who_waits_is_told_whom_for(
    tmp_path: Path, start_user: StartUser, wait_for: WaitFor, caplog: pytest.LogCaptureFixture
) -> None:
    holder = start_user("process_targets:hold_slot", tmp_path)
    wait_for((tmp_path / "held").exists)
    got: list[object] = []
    with caplog.at_level(logging.INFO, "rnnpipe"):
        waiting = threading.Thread(target=lambda: got.append(acquire_slot("cuda:0", 1, "this training")))
        waiting.start()
        wait_for(lambda: caplog.messages)
    (message,) = caplog.messages
    told = f"this training waits for cuda:0, held by the other training (process {holder.pid} on "
    assert message.startswith(told) and ", since " in message
    assert not got
    holder.send_signal(signal.SIGKILL)
    waiting.join(timeout=5)
    assert len(got) == 1


def test_a_cpu_has_a_slot_for_each_training_its_cores_carry() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    assert cpu_slots(1) == cores
    assert cpu_slots(cores) == 1
    assert cpu_slots(10 * cores) == 1


def test_the_locks_are_this_user_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locks_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(DeviceError, match="belongs to another user"):
        locks_folder()
