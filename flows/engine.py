"""Where a training runs: in a process of this machine, or as a task of a Ray cluster; the outcome is the same."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import ConfigError
from rnnpipe.nodes import EXCHANGE_VARIABLE, open_exchange
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import Entry, Store
from rnnpipe.training.supervise import OnBusy, OnEvents, train_supervised

INSTALL = "pip install 'rnnpipe[ray]'"


@dataclass(frozen=True)
class Work:
    """A training to be done: its recipe, the sequences it reads, a config, of that the variant and the seed."""

    recipe: Recipe
    sequences: StageRef
    config: PipelineConfig
    variant: int
    seed: int
    run: str


class Engine(Protocol):
    """Does trainings, several at a time; safe to use from many threads."""

    def train(self, work: Work, *, on_events: OnEvents, on_busy: OnBusy) -> Entry:
        """Return the trained model, trained if it isn't stored: see `train_supervised`."""

    def places(self) -> int:
        """Return how many trainings there is room for at a time, at least one."""

    def close(self) -> None:
        """Stop what is under way, which keeps a checkpoint, and let go of what it ran on."""


class LocalEngine:
    """Trains in processes of this machine."""

    def __init__(self, config: PipelineConfig, launcher: Launcher, store: Store) -> None:
        self._execution, self._launcher, self._store = config.execution, launcher, store

    def train(self, work: Work, *, on_events: OnEvents, on_busy: OnBusy) -> Entry:
        """Return the trained model, trained if it isn't stored: see `train_supervised`."""
        job = {
            "config": work.config, "variant": work.variant, "seed": work.seed,
            "sequences_folder": self._store.resolve(work.sequences).path,
        }  # fmt: skip
        return train_supervised(
            self._launcher, self._store, work.recipe, job=job, run=work.run, on_events=on_events, on_busy=on_busy
        )

    def places(self) -> int:
        """Return for how many trainings there are cores; on a GPU, one at a time."""
        if self._execution.device not in ("auto", "cpu"):
            return 1
        cores = cpu_cores()
        return max(1, cores // (self._execution.threads_within(cores) * self._execution.processes))

    def close(self) -> None:
        """Do nothing: the launcher is the session's."""


def check_engine(config: PipelineConfig) -> None:
    """Raise ConfigError where the engine of a config can't be had here: before anything is done for it."""
    if config.execution.engine != "ray":
        return
    if find_spec("ray") is None:
        raise ConfigError("execution.engine = ray: Ray isn't installed", INSTALL)
    open_exchange(exchange_url(config, Path()))


def exchange_url(config: PipelineConfig, workspace: Path) -> str:
    """Return the config's exchange; "" for that of RNNPIPE_EXCHANGE; for a cluster of ours, the workspace's."""
    ray = config.execution.ray
    if ray.exchange or ray.address or os.environ.get(EXCHANGE_VARIABLE):
        return ray.exchange or ""
    return str(workspace / "exchange")


def open_engine(config: PipelineConfig, launcher: Launcher, workspace: Path) -> Engine:
    """Return the engine that a config names; DeviceError where its cluster can't be reached."""
    store = Store.of_workspace()
    if config.execution.engine == "local":
        return LocalEngine(config, launcher, store)
    from flows.cluster import RayEngine  # brings ray

    return RayEngine(config, store, exchange_url(config, workspace))
