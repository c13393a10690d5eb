"""Jobs for the launcher: trainings that are killed, watched, or told about devices that aren't there."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rnnpipe.runtime import Device
from rnnpipe.training import work
from rnnpipe.training.job import train
from rnnpipe.training.journal import Journal
from rnnpipe.training.loop import Fit


class Instants:
    """Counts the moments between two changes on the disk, and kills this process at one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.passed, self.fatal = 0, fatal

    def __call__(self) -> None:
        if self.passed == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


def before_each(owner: type, name: str, instant: Instants) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        instant()
        return original(*arguments, **options)

    setattr(owner, name, wrapped)


def train_until_killed(folder: Path) -> None:
    """Train and die at the instant FOLDER.fatal says (null: none); FOLDER.passed gets their number."""
    instant = Instants(json.loads(Path(f"{folder}.fatal").read_text()))
    before_each(Path, "replace", instant)
    before_each(Path, "unlink", instant)
    append = Journal.append

    def torn_append(journal: Journal, line: str) -> None:
        instant()
        append(journal, line[: len(line) // 2])
        instant()
        append(journal, line[len(line) // 2 :])

    Journal.append = torn_append  # type: ignore[method-assign]
    train(folder)
    Path(f"{folder}.passed").write_text(json.dumps(instant.passed))


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


def train_on_pretended_gpu(folder: Path) -> None:
    work.resolve_device = lambda request: Pretended("cuda:1", "pretended")
    train_when_told(folder)


def train_without_memory(folder: Path) -> None:
    def run(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    Fit.run = run  # type: ignore[method-assign]
    train(folder)
