"""Small pictures without axes, made in milliseconds: one an epoch, for a page that steps through them."""

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from rnnpipe.evaluation.belief import Beliefs
from rnnpipe.evaluation.figures.style import COLOURS

SIDE, CELL, GAP, LINE = 168, 12, 12, 3  # pixels
COLUMNS = 2
RIGHT, WRONG = COLOURS[2], COLOURS[1]

Picture = NDArray[np.uint8]
Panel = NDArray[np.float64]


def belief_strip(images_NHW: NDArray[np.uint8], labels_N: NDArray[np.int64], beliefs: Beliefs) -> Picture:
    """Return a picture (height, width, 3): each image, and beside its rows the class probabilities so far.

    Images are (N, H, W), or in colour (N, H, W, 3). A column is a class, the darker the more probable. The line is
    where the decision fell: green and whole where the answer is right, orange and broken where it is wrong. The
    triangle below marks the true class.
    """
    panels = [
        _panel(image_HW, int(label), beliefs.of(place))
        for place, (image_HW, label) in enumerate(zip(images_NHW, labels_N, strict=True))
    ]
    while len(panels) % COLUMNS and len(panels) > COLUMNS:
        panels.append(np.ones_like(panels[0]))
    rows = [np.concatenate(panels[at : at + COLUMNS], axis=1) for at in range(0, len(panels), COLUMNS)]
    return (255 * np.concatenate(rows)).round().astype(np.uint8)


def _panel(image_HW: NDArray[np.uint8], label: int, beliefs: Beliefs) -> Panel:
    """Return one image with its heat map, of the image's height, on white."""
    believed_RK, steps = beliefs.probabilities_NRK[0], int(beliefs.steps_R[-1])
    pixels = _enlarged(image_HW)
    height, width = pixels.shape[:2]
    reading_of_line = np.searchsorted(beliefs.steps_R, (np.arange(height) + 1) * steps / height)
    heat = mpl.colormaps["Blues"](np.repeat(believed_RK[reading_of_line], CELL, axis=1))[..., :3]
    at = min(int(np.searchsorted(reading_of_line, _deciding(beliefs))), height - LINE)
    is_right = int(believed_RK[-1].argmax()) == label
    dashes = np.ones(heat.shape[1], dtype=bool) if is_right else np.arange(heat.shape[1]) % 12 < 7
    heat[at : at + LINE, dashes] = to_rgb(RIGHT if is_right else WRONG)
    left = width + GAP
    panel = np.ones((height + 2 * GAP, left + heat.shape[1] + 2 * GAP, 3))
    panel[:height, :width] = (pixels if pixels.ndim == 3 else pixels[..., None]) / 255
    panel[:height, left : left + heat.shape[1]] = heat
    for line in range(GAP // 2):  # a triangle that points up
        centre = left + label * CELL + CELL // 2
        panel[height + 3 + line, centre - line : centre + line + 1] = 0
    return panel


def _deciding(beliefs: Beliefs) -> int:
    """Return the reading at which the decision fell."""
    return int(np.searchsorted(beliefs.steps_R, beliefs.decided_at()[0]))


def _enlarged(image_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image's nearest pixels, its proportions kept, the longer side SIDE pixels."""
    size = image_HW.shape[:2]
    scale = SIDE / max(size)
    rows, columns = (np.arange(max(LINE, int(side * scale))) / scale for side in size)
    nearest = (np.minimum(each.astype(int), side - 1) for each, side in zip((rows, columns), size, strict=True))
    return image_HW[np.ix_(*nearest)]
