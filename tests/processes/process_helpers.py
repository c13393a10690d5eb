"""What the tests of processes share."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil

StartUser = Callable[[str, Path], subprocess.Popen[bytes]]


def is_alive(pid: int) -> bool:
    """Say whether a process runs (a zombie doesn't)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
