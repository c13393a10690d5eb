"""How many CPU threads a training uses: as many as asked for, or the fastest number, measured before it starts.

With auto the trainings of a run share the cores, so that none waits for another's; within its share each measures
its own update. The number is chosen once: it changes the last bits, so a training that goes on keeps it.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from rnnpipe.config import PipelineConfig
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import Device, set_threads
from rnnpipe.training.journal import start_of
from rnnpipe.training.loop import Fit
from rnnpipe.training.setting import epoch_order

BUDGET_S = 1.0  # no further update is timed after it, except one for each number
ROUNDS, TIMED = 5, 2  # each number's turn comes so many times, with so many timed updates
TIE = 1.05  # more threads have to be faster by more than this: they also lose more to whatever else runs


@dataclass(frozen=True)
class Threads:
    """A number of threads and why, in words; while that is "", it is the most that a measurement may take."""

    count: int
    reason: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What journal, manifest and MLflow say of it."""
        return {"threads": self.count, "threads_reason": self.reason}


def threads_at_start(config: PipelineConfig, device: Device, folder: Path) -> Threads:
    """Return the threads of a training: those asked for, those it began with, else its share of the cores."""
    if config.execution.threads != "auto":
        return Threads(config.execution.threads, f"asked for as {config.execution.threads}")
    if begun := _begun_with(folder):
        return begun
    if device.kind != "cpu":
        return Threads(1, f"1 thread: the work is on {device.name}")
    cores, trainings = cpu_cores(), len(config.variants) * len(config.seeds)
    if cores // trainings > 1:
        return Threads(cores // trainings)
    return Threads(1, "1 thread: there is one core" if cores == 1 else _shared(trainings, cores))


def _shared(trainings: int, cores: int) -> str:
    return f"1 thread: {trainings} trainings share {cores} cores"


def _begun_with(folder: Path) -> Threads | None:
    """Return the threads that the journal of a run folder began with; None where it says nothing of them."""
    start = start_of(folder)
    count, reason = start.get("threads"), start.get("threads_reason")
    if not isinstance(count, int) or not 1 <= count <= 1024 or reason is None:
        return None
    return Threads(count, str(reason))


def settle(threads: Threads, fitting: Fit, keep: Callable[[int], None]) -> Threads:
    """Return the threads for good, set for all that follows; measured on a copy of a training about to start.

    `keep` is given their number: the other cores of the share aren't needed. Nothing of the training changes.
    """
    if not threads.reason:
        with torch.random.fork_rng(devices=[]):
            threads = fastest(_rehearsal(fitting), _numbers_up_to(threads.count))
    set_threads(threads.count)
    keep(threads.count)
    return threads


def _rehearsal(fitting: Fit) -> Callable[[], None]:
    """Return what makes an update with a training's first images, on a copy of its net and optimiser."""
    trial = Fit(copy.deepcopy(fitting.network).train(), fitting.data, fitting.setting)
    batch = epoch_order(fitting.setting.seed, 1, len(fitting.data.train_y_N))[: fitting.setting.config.batch_size]

    def update() -> None:
        trial._update(batch, 1)  # its first epoch

    return update


def _numbers_up_to(most: int) -> list[int]:
    return sorted({most, *(1 << power for power in range(most.bit_length()))})


def fastest(
    update: Callable[[], None], numbers: Sequence[int], clock: Callable[[], float] = time.perf_counter
) -> Threads:
    """Return the number of threads with which an update is fastest, and the times; of equals the smaller number.

    They take turns, so that whatever else slows the machine hits all. Medians decide; the first update of a turn
    isn't timed, as it wakes the threads. `clock` is in seconds.
    """
    times_s: dict[int, list[float]] = {number: [] for number in numbers}
    started = clock()
    for _ in range(ROUNDS):
        for number in numbers:
            set_threads(number)
            update()
            for _ in range(TIMED):
                before = clock()
                update()
                times_s[number].append(clock() - before)
                if clock() - started > BUDGET_S:
                    break
        if clock() - started > BUDGET_S:
            break
    medians_ms = {number: 1000 * median(each) for number, each in times_s.items()}
    chosen = min(n for n in numbers if medians_ms[n] <= TIE * min(medians_ms.values()))
    others = ", ".join(f"with {n} {ms:.1f} ms" for n, ms in medians_ms.items() if n != chosen)
    s = "" if chosen == 1 else "s"
    return Threads(chosen, f"{chosen} thread{s}: {medians_ms[chosen]:.1f} ms an update, {others}")
