"""OS locks that share out devices: one training a GPU, and no more on a CPU than it has cores for."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rnnpipe.errors import DeviceError
from rnnpipe.holding import holder_of, note_holder

POLL_S = 0.2
WAITING_FILE = "log/waiting"

logger = logging.getLogger(__name__)


def locks_folder() -> Path:
    """Return the machine's folder of device locks: RNNPIPE_LOCKS, else this user's in the temporary folder."""
    folder = Path(os.environ.get("RNNPIPE_LOCKS") or f"{tempfile.gettempdir()}/rnnpipe-locks-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.lstat().st_uid != os.getuid() or folder.is_symlink():
        raise DeviceError(f"{folder} belongs to another user", "set RNNPIPE_LOCKS to a folder of your own")
    return folder


def cpu_slots(threads: int) -> int:
    """Return how many trainings of `threads` threads the CPU has cores for, at least one."""
    return max(1, len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0]) // threads)


def acquire_slot(device: str, slots: int, holder: str) -> FileLock:
    """Wait for one of a device's slots; return its lock, held until it is released or this process dies."""
    folder, told = locks_folder(), False
    name = device.replace(":", "-")
    while True:
        for number in range(slots):
            path = folder / f"{name}-{number}.lock"
            lock = FileLock(path)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            note_holder(path, holder)
            return lock
        if not told:
            others = ", ".join(holder_of(folder / f"{name}-{number}.lock") for number in range(slots))
            logger.info("%s waits for %s, held by %s", holder, device, others)
            told = True
        time.sleep(POLL_S)


@contextlib.contextmanager
def device_slot(device: str, threads: int, holder: str, folder: Path) -> Iterator[None]:
    """Hold a slot of a device for the length of the block; `waiting` lies in the job's folder until there is one.

    A CPU has as many as it has cores for jobs of `threads` threads, any other device one.

    A job's time-out doesn't count the time it waits.
    """
    waiting = folder / WAITING_FILE
    waiting.touch()
    slot = acquire_slot(device, cpu_slots(threads) if device == "cpu" else 1, holder)
    waiting.unlink()
    try:
        yield
    finally:
        slot.release()
