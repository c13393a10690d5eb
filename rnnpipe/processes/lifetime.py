"""What ties a process to the one that needs it, on every platform that has these means."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel (Linux) to send this process a signal when its parent dies; call it first in a child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the call
        os._exit(1)


def is_held(lock_file: Path) -> bool:
    """Say whether a living process holds the OS lock on this file."""
    lock = FileLock(lock_file, is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def stop_process(process: psutil.Process, patience_s: float = 10.0) -> None:
    """Ask a process and its children to end, and kill what is left after `patience_s` seconds."""
    stop_processes([process], patience_s)


def stop_processes(processes: Sequence[psutil.Process], patience_s: float) -> None:
    """Ask processes to end, and kill what is left of them and their children after `patience_s` seconds in all."""
    family = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True)
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=patience_s)
    for survivor in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(alive, timeout=5)
