"""The training and validation images of a sequences folder, as tensors."""

import mmap
from pathlib import Path
from typing import Any

import torch

from rnnpipe.data.raw import Floats, Pixels
from rnnpipe.data.stages import open_split
from rnnpipe.training.setting import TrainingData

KEPT_BYTES = 256 << 20  # of a file of images; what is smaller stays mapped
FAULT_BYTES = 64 << 10  # that Linux maps around a page that is read


def open_training_data(folder: Path, device: torch.device) -> TrainingData:
    """Return the splits of a sequences folder: memory-mapped for the CPU, copied once to any other device."""
    train, validation = open_split(folder, "train"), open_split(folder, "validation")
    assert train is not None, "every sequences folder has training images"
    return TrainingData(
        torch.from_numpy(train.x_NTI).to(device),
        torch.from_numpy(train.y_N).to(device),
        torch.from_numpy(validation.x_NTI) if validation else None,
        torch.from_numpy(validation.y_N) if validation else None,
        ReadPages(train.x_NTI).count if device.type == "cpu" else lambda images: None,
    )


class ReadPages:
    """Gives the pages of a large memory map back to the system, so that resident memory stays flat.

    Otherwise it grows up to the file's size within an epoch, and looks as if the images were held in memory.
    """

    def __init__(self, x_NTI: Pixels | Floats, limit_bytes: int = KEPT_BYTES) -> None:
        base: Any = x_NTI.base  # numpy's types don't know of maps
        self._map = base if isinstance(base, mmap.mmap) and x_NTI.nbytes > limit_bytes else None
        self._limit = limit_bytes // (FAULT_BYTES + x_NTI[0].nbytes)  # images between one time and the next
        self._images = 0

    def count(self, images: int) -> None:
        """Count this many images as read; give back what they have filled, once that may be too much."""
        self._images += images
        if self._map is not None and self._images >= self._limit and hasattr(mmap, "MADV_DONTNEED"):
            # Nobody writes to the map, so nothing is lost: what is read again comes from the file.
            self._map.madvise(mmap.MADV_DONTNEED)
            self._images = 0
