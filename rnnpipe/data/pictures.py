"""A look at a dataset: a few images of each class in one picture."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rnnpipe.data.raw import WHITE, Labels, Pixels

ROWS = 4
MAX_COLUMNS = 20
LABEL_CHARACTERS = 12


def save_samples(path: Path, images_NHW: Pixels, labels_N: Labels, classes: tuple[str, ...]) -> None:
    """Save a grid as PNG: a column for each class (the first 20), in it the first four images of the class.

    Images are (N, H, W), or in colour (N, H, W, 3).
    """
    names = [name[:LABEL_CHARACTERS] for name in classes[:MAX_COLUMNS]]
    height, width, *channels = images_NHW.shape[1:]
    cell_height, cell_width = height + 1 + height // 16, width + 1 + width // 16
    canvas = np.full((ROWS * cell_height, len(names) * cell_width, *channels), WHITE, dtype=np.uint8)
    for column in range(len(names)):
        for row, place in enumerate(np.flatnonzero(labels_N == column)[:ROWS]):
            top, left = row * cell_height, column * cell_width
            canvas[top : top + height, left : left + width] = images_NHW[place]
    figure = Figure(figsize=(len(names), ROWS * cell_height / cell_width + 0.3), dpi=100, layout="tight")
    axes = figure.subplots()
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=WHITE)
    centres = np.arange(len(names)) * cell_width + width / 2 - 0.5
    axes.set_xticks(centres, names, fontsize=7, parse_math=False)
    axes.tick_params(top=False, bottom=False, labeltop=True, labelbottom=False, left=False, labelleft=False)
    axes.spines[:].set_visible(False)
    figure.savefig(path, metadata={"Software": None})
