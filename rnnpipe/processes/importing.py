"""Imports of large libraries, in less time."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage in a block that imports: there is next to none, and to look takes a fifth of the time.

    What the block leaves is never looked through again, either: not even by children that are forked later, each
    of which would get a copy of all memory that is touched. For the start of a process, while it has one thread.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
