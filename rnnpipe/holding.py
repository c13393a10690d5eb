"""OS locks that say who holds them: a text beside the lock, for whoever has to wait."""

import contextlib
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from rnnpipe import faults
from rnnpipe.credentials import mask_credentials

GRACE_S = 0.5  # a wait that nobody need hear of; and until then a holder has said who it is
UNKNOWN = "another process"

logger = logging.getLogger(__name__)


def this_command() -> str:
    """Return the command of this process, as it was typed, without passwords."""
    program, *arguments = sys.argv
    name = "rnnpipe" if Path(program).name == "__main__.py" else Path(program).name
    return f"`{mask_credentials(shlex.join([name, *arguments]))}`"


def note_holder(lock_file: Path, what: str, run: str = "") -> None:
    """Say beside a lock that this process holds it: for `what`, for which run, on which host and since when."""
    path = _holder_file(lock_file)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    of_run = f"run {run}, " if run else ""
    text = f"{what} ({of_run}process {os.getpid()} on {platform.node()}, since {since})"
    with faults.around("write", path.name):  # in place, as a torn text does no harm
        path.write_text(text, encoding="utf-8")


def holder_of(lock_file: Path) -> str:
    """Return who holds a lock, in words."""
    try:
        return _holder_file(lock_file).read_text(encoding="utf-8") or UNKNOWN
    except (OSError, UnicodeDecodeError):
        return UNKNOWN


def holds_for(holder: str, run: str) -> bool:
    """Say whether a holder, in words, works for a run."""
    return f" (run {run}, " in holder


def forget_holder(lock_file: Path) -> None:
    """Take back what `note_holder` said; call it while the lock is still held."""
    path = _holder_file(lock_file)
    with faults.around("remove", path.name):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def hold(lock: FileLock, what: str) -> Iterator[None]:
    """Hold a lock for the length of the block; if another process does, say once who, and wait for its end."""
    path = Path(lock.lock_file)
    try:
        held = lock.acquire(timeout=GRACE_S)
    except Timeout:
        logger.warning("%s is at work on %s; this run waits and uses the result", holder_of(path), what)
        held = lock.acquire()
    with held:
        note_holder(path, this_command())
        try:
            yield
        finally:
            forget_holder(path)


def _holder_file(lock_file: Path) -> Path:
    return lock_file.with_suffix(".holder")
