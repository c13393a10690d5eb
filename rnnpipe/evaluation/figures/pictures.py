"""Pictures of test images, with what nets say of them. Images are (N, H, W), or in colour (N, H, W, 3)."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rnnpipe.evaluation.belief import Beliefs
from rnnpipe.evaluation.figures.style import COLOURS, new_figure, shorten
from rnnpipe.evaluation.metrics import Floats, Integers
from rnnpipe.evaluation.standing import Standing

GRID_COLUMNS, GRID_ROWS = 10, 5
GRID_CELLS = GRID_COLUMNS * GRID_ROWS
CHARACTERS_PER_INCH = 12  # of a title in 11 points


class Watched(NamedTuple):
    """A test image that nets were watched reading: its pixels (H, W), its class, and by label what each believed.

    The beliefs are those of this image alone: N = 1.
    """

    image_HW: NDArray[np.uint8]
    label: int
    beliefs: Mapping[str, Beliefs]


def changed_images(
    images_NHW: NDArray[np.uint8], chosen: NDArray[np.intp], candidate: Standing, champion: Standing, *,
    title: str, said: str,
) -> Figure:  # fmt: skip
    """Draw the chosen test images, the first 50: below each its true class, and what the two say (`said`)."""
    shown = chosen[:GRID_CELLS]
    names = [shorten(name, 8) for name in candidate.classes]
    texts = [
        f"{names[candidate.labels_N[place]]}\n"
        f"{names[champion.predicted_N[place]]} → {names[candidate.predicted_N[place]]}"
        for place in shown
    ]
    more = f" (the first {len(shown)})" if len(shown) < len(chosen) else ""
    title = f"{len(chosen):,} images {title}{more}: true class, {said}"
    return _image_grid(images_NHW[shown], texts, title)


def confident_mistakes(
    images_NHW: NDArray[np.uint8], probabilities_NK: Floats, labels_N: Integers, classes: Sequence[str], total: int
) -> Figure:
    """Draw mistaken images, at most 50, below each its true class and the answer; `total` mistakes were made."""
    predicted_N, confidence_N = probabilities_NK.argmax(axis=1), probabilities_NK.max(axis=1)
    names = [shorten(name, 8) for name in classes]
    texts = [
        f"{names[label]}\n{names[answer]}, {confidence:.0%}"
        for label, answer, confidence in zip(labels_N, predicted_N, confidence_N, strict=True)
    ]
    more = f", the {len(texts)} surest" if len(texts) < total else ""
    return _image_grid(images_NHW, texts, f"{total:,} mistakes{more}: true class, answer and confidence")


def belief_picture(watched: Sequence[Watched], classes: Sequence[str]) -> Figure:
    """Draw each image, and beside it for each net its class probabilities after each step, as a heat map.

    The line is where the decision fell: below it the answer stays what it is at the end.
    """
    labels = list(watched[0].beliefs)
    figure = Figure(figsize=(2.0 + 2.3 * len(labels), 0.6 + 2.1 * len(watched)), layout="constrained")
    grid = figure.subplots(len(watched), 1 + len(labels), squeeze=False, width_ratios=[1.0] * (1 + len(labels)))
    shades: Any = None
    for row, (each, panels) in enumerate(zip(watched, grid, strict=True)):
        panels[0].imshow(each.image_HW, cmap="gray", vmin=0, vmax=255)
        panels[0].set_axis_off()
        panels[0].set_title(f"true: {shorten(classes[each.label])}", fontsize=10, parse_math=False)
        for axes, label in zip(panels[1:], labels, strict=True):
            shades = _draw_belief(axes, each, label, classes)
            if row == 0:
                axes.set_title(f"{shorten(label, 24)}\n{axes.get_title()}", fontsize=10, parse_math=False)
    figure.colorbar(shades, ax=grid[:, -1], shrink=0.5, label="probability")
    title = "What a net believes, step by step. Below the line its answer stays: green right, orange wrong"
    figure.suptitle(textwrap.fill(title, int(CHARACTERS_PER_INCH * figure.get_figwidth())), fontsize=11)
    return figure


def _draw_belief(axes: Axes, watched: Watched, label: str, classes: Sequence[str]) -> Any:
    """Draw the heat map of one net and one image, and return it; its title says whether the answer is right."""
    beliefs = watched.beliefs[label]
    believed_RK, last = beliefs.probabilities_NRK[0], int(beliefs.steps_R[-1])
    shades = axes.imshow(
        believed_RK, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(-0.5, len(classes) - 0.5, last, 0),
    )  # fmt: skip
    deciding = int(np.searchsorted(beliefs.steps_R, beliefs.decided_at()[0]))
    answer = int(believed_RK[-1].argmax())
    verdict, colour = ("right", COLOURS[2]) if answer == watched.label else ("wrong", COLOURS[1])
    axes.axhline(int(beliefs.steps_R[deciding - 1]) if deciding else 0, color=colour, linewidth=2.2)
    axes.set_box_aspect(watched.image_HW.shape[0] / watched.image_HW.shape[1])  # rows lie beside the image's
    title = f"{verdict}: {shorten(classes[answer], 8)}, {believed_RK[-1, answer]:.0%}"
    axes.set_title(title, fontsize=10, parse_math=False)
    if len(classes) <= 12:
        axes.set_xticks(range(len(classes)), [shorten(name, 3) for name in classes], fontsize=8, parse_math=False)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylabel("step", fontsize=8)
    axes.set_xlabel("class", fontsize=8)
    return shades


def _image_grid(images_NHW: NDArray[np.uint8], texts: Sequence[str], title: str) -> Figure:
    """Draw images in rows of ten, with two lines of text below each."""
    rows = max(1, -(-len(images_NHW) // GRID_COLUMNS))
    figure, (axes,) = new_figure(GRID_COLUMNS, 0.7 + 1.35 * rows)
    height, width = (0.95 * side / max(images_NHW.shape[1:3]) for side in images_NHW.shape[1:3])
    for number, (image_HW, text) in enumerate(zip(images_NHW, texts, strict=True)):
        row, left = divmod(number, GRID_COLUMNS)
        top = 1.35 * row
        edges = (left, left + width, top + height, top)
        axes.imshow(image_HW, cmap="gray", vmin=0, vmax=255, extent=edges)
        axes.text(left + 0.475, top + 0.98, text, ha="center", va="top", fontsize=8, parse_math=False)
    axes.set_xlim(0, GRID_COLUMNS)
    axes.set_ylim(1.35 * rows, 0)
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    return figure
