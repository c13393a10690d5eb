"""OS locks that share out devices, each to one run at a time; on a CPU its jobs take as many cores as threads.

A GPU takes one job, or as many of one run as RNNPIPE_PLACES says: Ray's nodes set it where trainings share a GPU.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rnnpipe.errors import DeviceError
from rnnpipe.files import write_bytes
from rnnpipe.holding import GRACE_S, UNKNOWN, forget_holder, holder_of, holds_for, note_holder

POLL_S = 0.2
PLACES = "RNNPIPE_PLACES"
VISIBLE = "CUDA_VISIBLE_DEVICES"  # with it, cuda:0 is the first of these
WAITING_FILE = "log/waiting"


@dataclass(frozen=True)
class Job:
    """Who asks for a device: what it does, for which run, with how many threads."""

    what: str
    run: str
    threads: int


def locks_folder() -> Path:
    """Return the machine's folder of device locks: RNNPIPE_LOCKS, else this user's in the temporary folder."""
    folder = Path(os.environ.get("RNNPIPE_LOCKS") or f"{tempfile.gettempdir()}/rnnpipe-locks-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise DeviceError(f"{folder} belongs to another user", "set RNNPIPE_LOCKS to a folder of your own")
    return folder


def lock_name(device: str) -> str:
    """Return what the locks of a device are called: by the machine's number of a GPU, not by this process'."""
    kind, _, number = device.partition(":")
    visible = [each.strip() for each in os.environ.get(VISIBLE, "").split(",")]
    if kind == "cuda" and number and int(number) < len(visible) and visible[int(number)]:
        number = visible[int(number)]
    return f"{kind}-{number}" if number else kind


def cpu_cores() -> int:
    """Return how many cores of the CPU this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def device_slot(device: str, job: Job, folder: Path) -> Iterator[Callable[[int], None]]:
    """Hold a device, or a job's share of the CPU, for the length of the block, as soon as it is free.

    Until then `log/waiting` lies in the job's folder, for `waits_for`. A job's time-out doesn't count that time.
    Yields `keep`: `keep(threads)` gives back the cores that a job of so many threads doesn't need.
    """
    waiting, told, started = folder / WAITING_FILE, "", time.monotonic()
    waiting.touch()
    while True:
        taken, others = _take(device, job)
        if taken:
            break
        if others != told and time.monotonic() - started > GRACE_S:
            write_bytes(waiting, others.encode())
            told = others
        time.sleep(POLL_S)
    waiting.unlink()

    def keep(threads: int) -> None:
        while len(taken) > threads:
            lock = taken.pop()
            forget_holder(Path(lock.lock_file))
            lock.release()

    try:
        yield keep
    finally:
        keep(0)


def waits_for(folder: Path) -> str | None:
    """Return in words for which device the job of this folder waits, and who has it; None if it doesn't wait.

    Nothing is said, "", while it waits for others of its own run.
    """
    try:
        return (folder / WAITING_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _take(device: str, job: Job) -> tuple[list[FileLock], str]:
    """Take all the locks that a job needs, or none; return them, and in words which other runs have the device.

    A device works for one run at a time: the cores of a CPU are shared by the jobs of a run, not by runs.
    """
    name, is_cpu = lock_name(device), device == "cpu"
    total = cpu_cores() if is_cpu else int(os.environ.get(PLACES, "1"))
    needed, free, held = min(job.threads, total) if is_cpu else 1, list[FileLock](), list[Path]()
    own = [locks_folder() / f"{name}-{number}.lock" for number in range(total)]
    beyond = [] if is_cpu else sorted({*locks_folder().glob(f"{name}-*.lock")} - {*own})  # others share it by more
    with FileLock(locks_folder() / f"{name}.guard"):  # else two runs could take a core each at the same time
        for path in [*own, *beyond]:
            lock = FileLock(path)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                held.append(path)
            else:
                free.append(lock)
        others = {holder for holder in map(holder_of, held) if not holds_for(holder, job.run)}
        fitting = [lock for lock in free if Path(lock.lock_file) in own]
        taken = [] if others else fitting[:needed] if len(fitting) >= needed else []
        for lock in free:
            if lock not in taken:
                lock.release()
        for lock in taken:
            note_holder(Path(lock.lock_file), job.what, job.run)
    if others and UNKNOWN not in others:
        return taken, f"{device}, held by {', '.join(sorted(others))}"
    return taken, ""
