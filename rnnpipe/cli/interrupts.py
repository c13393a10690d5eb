"""Ctrl-C and SIGTERM end a command the same way: what it started is stopped, what is finished is kept."""

import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """Another process asked this one to end."""


def exit_code_of(interrupt: BaseException) -> int:
    """Return 128 + the number of the signal that ended the command; click wraps the interrupt in an Abort."""
    return TERMINATED if isinstance(interrupt.__cause__ or interrupt, Terminated) else INTERRUPTED


def raise_on_sigterm() -> None:
    """Let SIGTERM raise Terminated in the main thread, also where a shell without job control ignores Ctrl-C."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
