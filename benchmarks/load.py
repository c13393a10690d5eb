"""How much of the machine other processes used while something was measured."""

import time
from types import TracebackType
from typing import Self

import psutil

FOREIGN_LIMIT = 0.15  # cores; a round in which others used more is marked


class ForeignLoad:
    """Measures over a with-block: `wall_s`, and `foreign_cores`, the mean number of cores others kept busy."""

    wall_s = 0.0
    foreign_cores = 0.0

    def __enter__(self) -> Self:
        self._busy_s, self._own_s, self._started_s = _busy_s(), _own_s(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s = time.perf_counter() - self._started_s
        foreign_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        self.foreign_cores = max(0.0, foreign_s / self.wall_s)


def _busy_s() -> float:
    """Return the CPU seconds of all processes since boot."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
