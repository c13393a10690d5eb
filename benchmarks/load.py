"""How much of the machine others used while something was measured: other processes, and the host of a guest."""

from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

import psutil

FOREIGN_LIMIT = 0.15  # cores; a round in which others used more is marked


class Clocks(NamedTuple):
    """Seconds so far: wall, CPU of all processes, CPU of this process and its children, taken by the host."""

    wall_s: float
    busy_s: float
    own_s: float
    stolen_s: float


def read_clocks() -> Clocks:
    """Return the clocks of this machine; where the system doesn't tell stolen time, it is 0."""
    times = psutil.cpu_times()
    stolen_s = float(getattr(times, "steal", 0.0))
    # guest time is part of user time too
    idle = ("iowait", "guest", "guest_nice")
    busy_s = float(sum(times) - times.idle - sum(getattr(times, name, 0.0) for name in idle)) - stolen_s
    return Clocks(perf_counter(), busy_s, own_s(), stolen_s)


class ForeignLoad:
    """Measures over a with-block.

    `wall_s`; `foreign_cores`, the mean number of cores that other processes kept busy; `stolen_cores`, the mean
    number that the host of a virtual machine kept from it. Children of this process count as its own.
    """

    wall_s = foreign_cores = stolen_cores = 0.0

    def __init__(self, clocks: Callable[[], Clocks] = read_clocks) -> None:
        self._clocks = clocks

    def __enter__(self) -> Self:
        self._start = self._clocks()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end, start = self._clocks(), self._start
        self.wall_s = max(end.wall_s - start.wall_s, 1e-9)
        foreign_s = (end.busy_s - start.busy_s) - (end.own_s - start.own_s)
        self.foreign_cores = max(0.0, foreign_s / self.wall_s)
        self.stolen_cores = max(0.0, (end.stolen_s - start.stolen_s) / self.wall_s)

    @property
    def is_disturbed(self) -> bool:
        """Whether others used so much that what was measured meanwhile is in doubt."""
        return self.foreign_cores + self.stolen_cores > FOREIGN_LIMIT


def own_s() -> float:
    """Return the CPU seconds of this process and all below it: the living, and the dead that were waited for."""
    own = psutil.Process()
    total_s = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            waited_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            total_s += times.user + times.system + waited_s
    return total_s
