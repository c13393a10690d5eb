"""Small pictures without axes, made in milliseconds: one an epoch, for a page that steps through them."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from rnnpipe.evaluation.belief import Beliefs
from rnnpipe.evaluation.figures.style import COLOURS

SIDE, CELL, GAP, LINE = 168, 12, 12, 3  # pixels
RIGHT, WRONG = COLOURS[2], COLOURS[1]

Picture = NDArray[np.uint8]


def belief_strip(images_NHW: NDArray[np.uint8], labels_N: NDArray[np.int64], beliefs: Beliefs) -> Picture:
    """Return a picture (height, width, 3): each image, and below it the class probabilities, a row a reading.

    A column is a class, the darker the more probable. The line is where the decision fell: green and whole where
    the answer is right, orange and broken where it is wrong. The triangle below marks the true class.
    """
    decided = beliefs.decided_at()
    columns = []
    for place, (image_HW, label) in enumerate(zip(images_NHW, labels_N, strict=True)):
        believed_RK = beliefs.probabilities_NRK[place]
        rows, classes = believed_RK.shape
        heat = mpl.colormaps["Blues"](np.kron(believed_RK, np.ones((_height(rows), CELL))))[..., :3]
        at = min(int(np.searchsorted(beliefs.steps_R, decided[place])), rows - 1) * _height(rows)
        is_right = int(believed_RK[-1].argmax()) == int(label)
        dashes = np.ones(heat.shape[1], dtype=bool) if is_right else np.arange(heat.shape[1]) % 12 < 7
        heat[at : at + LINE, dashes] = to_rgb(RIGHT if is_right else WRONG)
        column = np.ones((SIDE + GAP + heat.shape[0] + GAP, max(SIDE, classes * CELL), 3))
        column[:SIDE, :SIDE] = _enlarged(image_HW)[..., None] / 255
        column[SIDE + GAP : SIDE + GAP + heat.shape[0], : heat.shape[1]] = heat
        for line in range(GAP // 2):  # a triangle that points up
            centre = int(label) * CELL + CELL // 2
            column[-GAP + 3 + line, centre - line : centre + line + 1] = 0
        columns += [column, np.ones((column.shape[0], GAP, 3))]
    return (255 * np.concatenate(columns[:-1], axis=1)).round().astype(np.uint8)


def _height(rows: int) -> int:
    """Return how high a reading is drawn, so that all have about the height of an image."""
    return max(LINE, SIDE // rows)


def _enlarged(image_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image's nearest pixels on a square of SIDE x SIDE, its proportions kept, on white."""
    found = np.full((SIDE, SIDE), 255, dtype=np.uint8)
    scale = SIDE / max(image_HW.shape)
    rows, columns = (np.arange(max(1, int(side * scale))) / scale for side in image_HW.shape)
    pixels = image_HW[rows.astype(int)[:, None], columns.astype(int)]
    found[: pixels.shape[0], : pixels.shape[1]] = pixels
    return found
