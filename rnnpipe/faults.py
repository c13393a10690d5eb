"""Points in the code at which a test can kill the process: before and after whatever changes the world outside.

RNNPIPE_FAULT=POINT/WHAT:N kills the process, as `kill -9` does, when it reaches that point for the N-th time; of
several, separated by commas, at whichever comes first. RNNPIPE_FAULT_LOG=FILE notes every point that is reached,
and which one killed. With neither set, a point calls an empty function.

    with faults.around("rename", path.name):     reaches before-rename/NAME and after-rename/NAME
"""

import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator

FAULT, FAULT_LOG, KILLED = "RNNPIPE_FAULT", "RNNPIPE_FAULT_LOG", "killed at "
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
    fatal = set(filter(None, os.environ.get(FAULT, "").split(",")))
    log, seen = os.environ.get(FAULT_LOG), Counter[str]()

    def note(point: str) -> None:
        name = VARYING.sub("#", point)
        seen[name] += 1
        number = f"{name}:{seen[name]}"
        if log:
            with open(log, "a", encoding="utf-8") as file:  # noqa: PTH123 (one write, whole, from any process)
                file.write(f"{KILLED}{number}\n" if number in fatal else f"{name}\n")
        if number in fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    _reach = note if fatal or log else _pass


arm()
