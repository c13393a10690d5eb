"""The most memory that processes used while something was measured."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil


class Memory(NamedTuple):
    """MiB: anonymous (what only the process holds), and resident (with the pages of files that it has mapped)."""

    anonymous_mib: float
    resident_mib: float


def memory_of(processes: Iterable[int]) -> Memory:
    """Return the memory of these processes now, summed; those that are gone count nothing.

    Anonymous is RssAnon of /proc; where there is none, the memory that is freed when the process ends.
    """
    total = Memory(0.0, 0.0)
    for process in processes:
        with suppress(psutil.Error, FileNotFoundError, ProcessLookupError):
            each = _memory_of(process)
            total = Memory(total.anonymous_mib + each.anonymous_mib, total.resident_mib + each.resident_mib)
    return total


def tree_of(process: int) -> list[int]:
    """Return a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        return [process, *(child.pid for child in psutil.Process(process).children(recursive=True))]
    return []


class PeakMemory:
    """Looks at processes every `every_s` seconds over a with-block; `peak` is the most of each kind of memory."""

    def __init__(self, processes: Callable[[], Iterable[int]], every_s: float) -> None:
        self.peak = Memory(0.0, 0.0)
        self._processes, self._every_s = processes, every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._is_over.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        now = memory_of(self._processes())
        self.peak = Memory(*map(max, self.peak, now))


def _memory_of(process: int) -> Memory:
    if not Path("/proc/self/status").exists():
        known = psutil.Process(process).memory_full_info()
        return Memory(known.uss / 2**20, known.rss / 2**20)
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmRSS:"))}
    return Memory(kib.get("RssAnon", 0) / 1024, kib.get("VmRSS", 0) / 1024)  # a zombie has neither
