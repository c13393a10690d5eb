"""A drawing as an image such as the net was trained on: scaled and centred by the rule of its dataset.

MNIST's rule (Y. LeCun, C. Cortes, C. Burges, “The MNIST database of handwritten digits”): what is drawn is scaled
to fit a box of 20 x 20 pixels, keeping its proportions, and laid into 28 x 28 so that its centre of mass is in the
middle. In the files, the middle is the pixel (14, 14), to within half a pixel. Other datasets fill their frame.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from rnnpipe.data.raw import WHITE, Pixels
from rnnpipe.errors import DataError

DRAWING_SIDE = 112  # pixels: four times MNIST's, so that scaling leaves soft edges as MNIST's are
CENTRED_AS_MNIST = {"mnist", "emnist-digits"}
MNIST_BOX, MNIST_SIDE = 20, 28


class Framing(NamedTuple):
    """How much of a side a drawing takes up at most; its centre of mass lies `past_centre` past (side - 1) / 2."""

    share: float
    past_centre: float
    words: str


AS_MNIST = Framing(MNIST_BOX / MNIST_SIDE, 0.5, "scaled and centred as MNIST's digits are")
FILLING = Framing(1.0, 0.0, "scaled to fill the frame, as the training images do")


def framing_of(dataset: str) -> Framing:
    """Return the rule for the images of a dataset."""
    return AS_MNIST if dataset in CENTRED_AS_MNIST else FILLING


def frame_drawing(drawing: Pixels, image_size: tuple[int, int], framing: Framing) -> Pixels:
    """Return a drawing (light on black, any size) as an image of (height, width); DataError where it is empty.

    Nothing is cut off: a drawing whose centre of mass lies far to one side touches the edge there.
    """
    rows, columns = np.flatnonzero(drawing.any(axis=1)), np.flatnonzero(drawing.any(axis=0))
    if not len(rows):
        raise DataError("nothing is drawn", "draw with the mouse, a finger or the arrow keys")
    crop = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(framing.share * side / length for side, length in zip(image_size, crop.shape, strict=True))
    height, width = (max(1, round(scale * length)) for length in crop.shape)
    scaled = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))
    if not scaled.any():  # too faint or too thin to be left over
        scaled = np.full((height, width), WHITE, np.uint8)
    image_HW = np.zeros(image_size, np.uint8)
    top, left = (
        int(np.clip(round((side - 1) / 2 + framing.past_centre - centre), 0, side - length))
        for side, length, centre in zip(
            image_size, scaled.shape, ndimage.center_of_mass(scaled.astype(float)), strict=True
        )
    )
    image_HW[top : top + height, left : left + width] = scaled
    return image_HW
