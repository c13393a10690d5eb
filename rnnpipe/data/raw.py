"""What every loader returns: a dataset's images as they are, before the splits that are made here.

Shapes: N images, H rows and W columns of pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WHITE = 255

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class RawDataset:
    """Grey images (0 black to 255 white) and class numbers; `test_*` is None where a dataset has one part.

    The image arrays may be memory-mapped: read them in pieces.
    """

    train_images_NHW: Pixels
    train_labels_N: Labels
    test_images_NHW: Pixels | None
    test_labels_N: Labels | None
    classes: tuple[str, ...]
