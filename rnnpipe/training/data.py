"""The training and validation images of a sequences folder, as tensors."""

from pathlib import Path

import psutil
import torch

from rnnpipe.data.arrays import forget_pages
from rnnpipe.data.raw import Floats, Pixels
from rnnpipe.data.stages import open_split
from rnnpipe.training.setting import TrainingData

KEPT_BYTES = 256 << 20  # of a file of images; what is smaller stays mapped


def open_training_data(folder: Path, device: torch.device) -> TrainingData:
    """Return the splits of a sequences folder: memory-mapped for the CPU, copied once to any other device."""
    train, validation = open_split(folder, "train"), open_split(folder, "validation")
    assert train is not None, "every sequences folder has training images"
    return TrainingData(
        torch.from_numpy(train.x_NTI).to(device),
        torch.from_numpy(train.y_N).to(device),
        torch.from_numpy(validation.x_NTI) if validation else None,
        torch.from_numpy(validation.y_N) if validation else None,
        ReadPages(train.x_NTI).look if device.type == "cpu" else lambda: None,
    )


class ReadPages:
    """Gives the pages of a large memory map back to the system, so that resident memory stays flat.

    Otherwise it grows up to the file's size within an epoch, and looks as if the images were held in memory. It is
    looked at after each update, since one image may bring 64 KiB or 2 MiB around it, as the system likes.
    """

    def __init__(self, x_NTI: Pixels | Floats, limit_bytes: int = KEPT_BYTES) -> None:
        self._array = x_NTI if x_NTI.nbytes > limit_bytes else None
        self._limit_bytes = limit_bytes
        self._most_bytes = _mapped_bytes() + limit_bytes

    def look(self) -> None:
        """Give back what was read, once that is too much. Nothing is lost: read again, it comes from the file."""
        if self._array is not None and _mapped_bytes() > self._most_bytes:
            forget_pages(self._array)
            self._most_bytes = (
                _mapped_bytes() + self._limit_bytes
            )  # what is left belongs to others, such as libraries


def _mapped_bytes() -> int:
    """Return how much of mapped files is in this process' memory; 0 where the system doesn't tell."""
    return int(getattr(psutil.Process().memory_info(), "shared", 0))
