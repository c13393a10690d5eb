"""Trainings through the real launcher and store."""

from collections.abc import Callable
from pathlib import Path

from rnnpipe.config import PipelineConfig
from rnnpipe.processes.launcher import Launcher
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import Entry, Store
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import Event
from rnnpipe.training.supervise import train_supervised

SEQUENCES = StageRef(stage="sequences", key="k" * 64, digest="d" * 64, facts={})


class Trainings:
    """One store, and what the trainings in it told."""

    def __init__(self, launcher: Launcher, root: Path, sequences_folder: Path) -> None:
        self.launcher, self.store, self.sequences_folder = launcher, Store(root), sequences_folder
        self.told: list[Event] = []
        self.folder: Path | None = None
        self.while_training: Callable[[Path], None] = lambda folder: None

    def recipe(self, config: PipelineConfig) -> Recipe:
        return training_recipe(SEQUENCES, config, config.variants[0], 0)

    def run(self, config: PipelineConfig, sequences_folder: Path | None = None) -> Entry:
        job = {
            "config": config,
            "variant": 0,
            "seed": 0,
            "sequences_folder": sequences_folder or self.sequences_folder,
        }
        return train_supervised(
            self.launcher, self.store, self.recipe(config), job=job, run="run-1", on_events=self.take
        )

    def take(self, folder: Path, events: list[Event]) -> None:
        self.folder = folder
        self.told += events
        self.while_training(folder)
