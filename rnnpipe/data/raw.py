"""What every loader returns: a dataset's images as they are, before the splits that are made here.

Shapes: N images, H rows and W columns of pixels.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WHITE = 255

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Chunk(Protocol):
    """Some images, and in words what is wrong with those of them that can't be used."""

    @property
    def pixels(self) -> Pixels:
        """Images of one shape."""

    @property
    def mistakes(self) -> tuple[str, ...]:
        """A sentence an image that can't be used."""


class LazyImages(Protocol):
    """Images that cost time when they are read: they are read once, in order, and written as they come."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W), or (N, H, W, 3) in colour."""

    def chunks(self, chosen: NDArray[np.int64]) -> Generator[Chunk, None, None]:
        """Yield the images of these numbers in order."""


@dataclass(frozen=True)
class RawDataset:
    """Images (0 black to 255 white) and class numbers; `test_*` is None where a dataset has one part.

    Images are arrays of shape (N, H, W), which may be memory-mapped, or in colour (N, H, W, 3); or they are lazy.
    """

    train_images_NHW: Pixels | LazyImages
    train_labels_N: Labels
    test_images_NHW: Pixels | LazyImages | None
    test_labels_N: Labels | None
    classes: tuple[str, ...]
