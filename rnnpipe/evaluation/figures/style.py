"""The style that all figures share: colours safe for the colour-blind, thin grids, labels that fit.

Figures are made without pyplot and global state, on white, so that they can be read on light and dark pages.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rnnpipe.files import atomic_path

# Okabe and Ito, “Color universal design”, 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P")
DOTS_PER_INCH = 120
MAX_LABEL_CHARACTERS = 18


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG of 120 dpi and 256 colours, whole or not at all; equal figures give equal bytes.

    With a palette it has a third of the size, so that a page has room for all figures of a run.
    """
    figure.set_dpi(DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A class may be named in a script that the font lacks; it is drawn as a box, which is no error.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas.draw()  # type: ignore[no-untyped-call]  # savefig would draw twice, pack and unpack
    rgba_HW4 = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(np.ascontiguousarray(rgba_HW4[..., :3])).quantize(256, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="png")


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure, width and height in inches, and its panels, side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    all_axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, all_axes


def line_style(index: int, points: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return colour and marks of the line with this number, so that lines differ without colours too."""
    style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.6}
    marker = MARKERS[index % len(MARKERS)]
    return style, {"marker": marker, "markersize": 4, "markevery": max(1, -(-points // 20))}


def name_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Give a panel its title and the names of its axes."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def thin_out(count: int) -> list[int]:
    """Return the indices that are labelled, so that labels of many classes don't cover each other."""
    return list(range(0, count, -(-count // 60)))


def shorten(name: str, limit: int = MAX_LABEL_CHARACTERS) -> str:
    """Return a name, cut where it is longer than the limit."""
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
