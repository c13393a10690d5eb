"""What a training is given: data, model, config, seed, device; and where it tells what happens."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from rnnpipe.config import TrainingConfig
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.runtime import Precision
from rnnpipe.training.journal import Mark


class Recorder(Protocol):
    """Where a training tells what happens."""

    def append(self, line: str) -> None:
        """Take the line of an event."""

    def sync(self) -> Mark:
        """Make sure that what was taken isn't lost; return where it ends."""


class NullRecorder:
    """Takes every event and keeps none."""

    def append(self, line: str) -> None:
        """Do nothing."""

    def sync(self) -> Mark:
        """Return the mark of an empty journal."""
        return Mark()


@dataclass(frozen=True)
class TrainingData:
    """Training and validation split: x_NTI uint8 (memory-mapped or on the device), y_N int64 labels."""

    train_x_NTI: torch.Tensor
    train_y_N: torch.Tensor
    validation_x_NTI: torch.Tensor | None = None
    validation_y_N: torch.Tensor | None = None
    # Called after each update, which has read some of the training images.
    was_read: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Setting:
    """What a training is given besides its data: model, config, seed, device, precision, run folder.

    There it writes a checkpoint at each epoch's end, and within an epoch every `checkpoint_every_s` seconds.
    """

    spec: ModelSpec
    config: TrainingConfig
    seed: int
    device: torch.device
    precision: Precision
    folder: Path | None = None
    checkpoint_every_s: float = 10.0


def mix_seed(*parts: int) -> int:
    """Return a 63-bit seed that is a pure function of its parts, such as seed, epoch and step."""
    digest = hashlib.sha256(",".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def epoch_order(seed: int, epoch: int, total: int) -> torch.Tensor:
    """Return the order of the training images in an epoch: a pure function of seed and epoch."""
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
    return torch.randperm(total, generator=generator)
