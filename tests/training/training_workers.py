"""Jobs for the launcher: trainings that are killed, stopped, watched, or told about devices that aren't there."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rnnpipe import faults
from rnnpipe.files import read_json, write_json
from rnnpipe.processes import slots
from rnnpipe.runtime import Device
from rnnpipe.training import threads, work
from rnnpipe.training.job import train
from rnnpipe.training.journal import Journal
from rnnpipe.training.loop import Fit


def train_with_faults(folder: Path) -> None:
    """Train with the faults that FOLDER.faults says; a line of the journal comes in two pieces, to be torn."""
    os.environ.update(read_json(Path(f"{folder}.faults")))
    append = Journal.append

    def append_in_pieces(journal: Journal, line: str) -> None:
        append(journal, line[: len(line) // 2])
        append(journal, line[len(line) // 2 :])

    Journal.append = append_in_pieces  # type: ignore[method-assign]
    faults.arm()
    train(folder)


def train_until_terminated(folder: Path) -> None:
    """Train, and be sent SIGTERM in the middle of the update that FOLDER.update says (from 0)."""
    update, fatal = Fit._update, read_json(Path(f"{folder}.update"))

    def update_and_be_told(fitting: Fit, *arguments: Any) -> Any:
        if fitting.progress.step == fatal:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(fitting, *arguments)

    Fit._update = update_and_be_told  # type: ignore[method-assign]
    train(folder)


def find_two_fastest(folder: Path, how: Callable[[Path], None] = train, count: int = 2) -> None:
    """Train on a machine of two cores; it measures, and finds what the test wants."""
    fastest = threads.fastest

    def pretend(*arguments: Any) -> threads.Threads:
        fastest(*arguments)
        return threads.Threads(count, f"{count} threads: pretended")

    threads.fastest = pretend
    threads.cpu_cores = slots.cpu_cores = lambda: 2
    how(folder)


def find_two_fastest_and_be_terminated(folder: Path) -> None:
    find_two_fastest(folder, train_until_terminated)


def find_one_fastest_of_two_and_tell_cores(folder: Path) -> None:
    """Write into FOLDER.cores how many cores are held while it measures, and while it trains."""
    fastest, run, held = threads.fastest, Fit.run, dict[str, int]()

    def look(when: str, then: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            held[when] = len(list(slots.locks_folder().glob("cpu-*.holder")))
            return then(*arguments)

        return call

    threads.fastest, Fit.run = look("measures", fastest), look("trains", run)  # type: ignore[method-assign]
    find_two_fastest(folder, count=1)
    write_json(Path(f"{folder}.cores"), held)


def train_on_one_core_without_measuring(folder: Path) -> None:
    def fail(*arguments: Any) -> threads.Threads:
        raise AssertionError("it measures")

    threads.fastest = fail
    threads.cpu_cores = slots.cpu_cores = lambda: 1
    train(folder)


def train_and_tell_modules(folder: Path) -> None:
    """Train, then write the names of all imported modules to FOLDER.modules."""
    train(folder)
    Path(f"{folder}.modules").write_text("\n".join(sys.modules))


def train_when_told(folder: Path) -> None:
    """Train once FOLDER.go exists; the device is held meanwhile."""
    run = Fit.run

    def wait_and_run(*arguments: Any) -> Any:
        Path(f"{folder}.ready").touch()
        while not Path(f"{folder}.go").exists():
            time.sleep(0.02)
        return run(*arguments)

    Fit.run = wait_and_run  # type: ignore[method-assign]
    train(folder)


class Pretended(Device):
    """A GPU by name that calculates on the CPU."""

    @property
    def torch(self) -> torch.device:
        return torch.device("cpu")


def train_on_pretended_gpu(folder: Path, how: Callable[[Path], None] = train) -> None:
    work.resolve_device = lambda request: Pretended("cuda:1", "pretended")
    how(folder)


def train_on_pretended_gpu_when_told(folder: Path) -> None:
    train_on_pretended_gpu(folder, train_when_told)


def train_without_memory(folder: Path) -> None:
    def run(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    Fit.run = run  # type: ignore[method-assign]
    train(folder)
