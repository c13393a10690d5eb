"""Points in the code at which a test can kill the process: before and after whatever changes the world outside.

RNNPIPE_FAULT=POINT/WHAT:N kills the process, as `kill -9` does, when it reaches that point for the N-th time;
RNNPIPE_FAULT_LOG=FILE notes every point that is reached. With neither set, a point calls an empty function.

    with faults.around("rename", path.name):     reaches before-rename/NAME and after-rename/NAME
"""

import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator

FAULT, FAULT_LOG = "RNNPIPE_FAULT", "RNNPIPE_FAULT_LOG"
VARYING = re.compile(r"[0-9a-f]{12,}|\d+")  # keys and numbers in names: one file of a kind is like the other


def _pass(point: str) -> None:
    """Do nothing: no fault is asked for."""


_reach: Callable[[str], None] = _pass


def reach(point: str, what: str) -> None:
    """Put a point here; `what` is the file, or the call, that it is about."""
    _reach(f"{point}/{what}")


@contextlib.contextmanager
def around(doing: str, what: str) -> Iterator[None]:
    """Put one point before the block and one after it."""
    reach(f"before-{doing}", what)
    yield
    reach(f"after-{doing}", what)


def arm() -> None:
    """Take up what the environment asks for, counting from here; done at import, and again by a forked test."""
    global _reach  # noqa: PLW0603 (so that a point costs nothing where no fault is asked for)
    fatal, _, number = os.environ.get(FAULT, "").rpartition(":")
    log, seen = os.environ.get(FAULT_LOG), Counter[str]()

    def note(point: str) -> None:
        name = VARYING.sub("#", point)
        seen[name] += 1
        if log:
            with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 (one write, whole, from any process)
                file.write(f"{name}\n")
        if name == fatal and seen[name] == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    _reach = note if fatal or log else _pass


arm()
