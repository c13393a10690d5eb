"""Figures of histories, reports and leaderboards, in one style and in colours safe for the colour-blind.

Every function returns a Figure of its own (no pyplot, no global state); `save_figure` writes it.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from rnnpipe.evaluation.leaderboard import LeaderboardRow
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.standing import Standing
from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.files import atomic_path

# Okabe and Ito, “Color universal design”, 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P")
DOTS_PER_INCH = 120
SHADE_TICKS = (0, 0.01, 0.05, 0.2, 0.5, 1)
MAX_NUMBERED_CLASSES = 20
MAX_LABEL_CHARACTERS = 18
GRID_COLUMNS, GRID_ROWS = 10, 5

History = Sequence[Mapping[str, Any]]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG of 120 dpi, whole or not at all; equal figures give equal bytes."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A class may be named in a script that the font lacks; it is drawn as a box, which is no error.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Draw loss and validation accuracy by epoch, one colour a label.

    Each history is a list of epochs with epoch, train_loss, validation_loss and validation_accuracy. The
    last two are None or missing where there are no validation images; then only the training loss is drawn.
    """
    all_epochs = [epoch for history in histories.values() for epoch in history]
    validated = any(epoch.get("validation_loss") is not None for epoch in all_epochs)
    columns = ["validation_loss", "validation_accuracy"] if validated else ["train_loss"]
    height = max(4.2, 1 + 0.22 * len(histories))
    figure, all_axes = _new_figure(2 + 4.5 * len(columns), height, columns=len(columns))
    for index, (label, history) in enumerate(histories.items()):
        epochs = [epoch["epoch"] for epoch in history]
        style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.6}
        marks: dict[str, Any] = {
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 4,
            "markevery": -(-len(history) // 20),
        }
        for axes, column in zip(all_axes, columns, strict=True):
            axes.plot(epochs, _numbers(history, column), label=_shorten(label, 40), **style, **marks)
        if validated:
            all_axes[0].plot(epochs, _numbers(history, "train_loss"), linestyle=":", **style)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    title = "Loss on validation images (dotted: training)" if validated else "Training loss"
    _name_axes(all_axes[0], title, "epoch", "mean loss (nats)")
    if validated:
        _name_axes(all_axes[1], "Accuracy on validation images", "epoch", "accuracy")
        all_axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    for axes in all_axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def confusion_matrix(report: EvaluationReport) -> Figure:
    """Draw the confusion matrix; the shade is the share of the true class, the number counts images."""
    counts_KK = np.array(report.confusion)
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    names = [_shorten(scores.name) for scores in report.per_class]
    size = min(max(5.0, 1.8 + 0.5 * len(names)), 16)
    figure, (axes,) = _new_figure(size + 0.8, size)
    # Shades by the power of the share: on a linear scale the mistakes of a good model can't be seen.
    shades = PowerNorm(gamma=0.4, vmin=0, vmax=1)
    image = axes.imshow(share_KK, cmap="Blues", norm=shades)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=SHADE_TICKS, format=PercentFormatter(1))
    bar.set_label("share of the true class")
    ticks = _thin_out(len(names))
    chosen = [names[tick] for tick in ticks]
    axes.set_xticks(ticks, chosen, rotation=90 if max(map(len, chosen)) > 3 else 0, parse_math=False)
    axes.set_yticks(ticks, chosen, parse_math=False)
    axes.grid(False)
    if len(names) <= MAX_NUMBERED_CLASSES:
        for row, column in np.argwhere(counts_KK):
            colour = "white" if shades(share_KK[row, column]) > 0.6 else "black"
            axes.text(column, row, counts_KK[row, column], ha="center", va="center", color=colour, fontsize=9)
    wrong = report.total - report.correct
    _name_axes(axes, f"{wrong:,} of {report.total:,} {report.split} images mistaken", "predicted", "true")
    return figure


def per_class_bars(report: EvaluationReport) -> Figure:
    """Draw the recall of each class with its Wilson 95 % interval, and the accuracy over all."""
    names = [f"{_shorten(scores.name)} ({scores.support:,})" for scores in report.per_class]
    correct_K = [row[index] for index, row in enumerate(report.confusion)]
    figure, (axes,) = _new_figure(8, 1.6 + 0.3 * len(names))
    intervals = [
        wilson_interval(correct, scores.support) if scores.support else (0.0, 1.0)
        for correct, scores in zip(correct_K, report.per_class, strict=True)
    ]
    _draw_intervals(axes, names, [scores.recall for scores in report.per_class], intervals)
    axes.axvline(report.accuracy, color=COLOURS[1], linestyle="--", linewidth=1.4)
    title = f"Accuracy {report.accuracy:.2%} (dashed) and recall of each class, with 95 % intervals"
    _name_axes(axes, title, "recall", "class (images)")
    return figure


def leaderboard_bars(rows: Sequence[LeaderboardRow]) -> Figure:
    """Draw the test accuracy of each row with its 95 % interval, the first row on top."""
    figure, (axes,) = _new_figure(8, 1.6 + 0.34 * len(rows))
    names = [_shorten(row.name, 40) for row in rows]
    intervals = [(row.accuracy_low, row.accuracy_high) for row in rows]
    _draw_intervals(axes, names, [row.accuracy for row in rows], intervals)
    _name_axes(axes, f"Accuracy on {rows[0].total:,} test images, with 95 % intervals", "test accuracy", "")
    return figure


def changed_images(
    images_NHW: NDArray[np.uint8], chosen: NDArray[np.intp], candidate: Standing, champion: Standing, title: str
) -> Figure:
    """Draw the chosen test images, the first 50: below each its true class, and what champion → candidate say."""
    shown = chosen[: GRID_COLUMNS * GRID_ROWS]
    rows = max(1, -(-len(shown) // GRID_COLUMNS))
    figure, (axes,) = _new_figure(GRID_COLUMNS, 0.7 + 1.35 * rows)
    names = [_shorten(name, 8) for name in candidate.classes]
    height, width = (0.95 * side / max(images_NHW.shape[1:]) for side in images_NHW.shape[1:])
    for number, place in enumerate(shown):
        row, left = divmod(number, GRID_COLUMNS)
        top = 1.35 * row
        edges = (left, left + width, top + height, top)
        axes.imshow(images_NHW[place], cmap="gray", vmin=0, vmax=255, extent=edges)
        old, new = names[champion.predicted_N[place]], names[candidate.predicted_N[place]]
        text = f"{names[candidate.labels_N[place]]}\n{old} → {new}"
        axes.text(left + 0.475, top + 0.98, text, ha="center", va="top", fontsize=8, parse_math=False)
    axes.set_xlim(0, GRID_COLUMNS)
    axes.set_ylim(1.35 * rows, 0)
    axes.set_axis_off()
    more = f" (the first {len(shown)})" if len(shown) < len(chosen) else ""
    title = f"{len(chosen):,} images {title}{more}: true class, champion → candidate"
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    return figure


class TrendPoint(NamedTuple):
    """A version of a model: its number, its aliases, test accuracy with interval, digest of the images."""

    number: int
    aliases: str
    accuracy: float
    interval: tuple[float, float]
    data: str


def accuracy_trend(name: str, points: Sequence[TrendPoint]) -> Figure:
    """Draw the test accuracy of a model's versions with 95 % intervals; dotted lines where the images change."""
    figure, (axes,) = _new_figure(min(max(6.0, 2 + 0.5 * len(points)), 16), 4.2)
    axes.plot([point.accuracy for point in points], color="#999999", linewidth=1)
    for place, point in enumerate(points):
        low, high = point.interval
        errors = [[max(point.accuracy - low, 0)], [max(high - point.accuracy, 0)]]
        colour = COLOURS[1] if point.aliases else COLOURS[0]
        axes.errorbar(place, point.accuracy, yerr=errors, fmt="o", color=colour, capsize=3, linewidth=1.6)
        if place and point.data != points[place - 1].data:
            axes.axvline(place - 0.5, color=COLOURS[6], linestyle=":", linewidth=1)
    ticks = _thin_out(len(points))
    labels = [f"{points[tick].number}\n{points[tick].aliases}" for tick in ticks]
    axes.set_xticks(ticks, labels, fontsize=9, parse_math=False)
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    _name_axes(axes, f"{name}: accuracy on test images, with 95 % intervals", "version", "test accuracy")
    return figure


def _draw_intervals(
    axes: Axes, names: Sequence[str], shares: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> None:
    """Draw a point with its interval a name, top down. Not bars: these would have to start at zero."""
    centre, (low, high) = np.array(shares), np.array(intervals).T
    positions = np.arange(len(names))
    errors = np.maximum([centre - low, high - centre], 0)
    axes.errorbar(centre, positions, xerr=errors, fmt="o", color=COLOURS[0], capsize=3, linewidth=1.6)
    for position, share in enumerate(shares):
        axes.annotate(
            f"{share:.2%}", (1, position), xycoords=("axes fraction", "data"), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=9, annotation_clip=False,
        )  # fmt: skip
    axes.set_yticks(positions, names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    all_axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in all_axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#E5E5E5", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, all_axes


def _name_axes(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def _numbers(history: History, column: str) -> list[float]:
    values = (epoch.get(column) for epoch in history)
    return [float("nan") if value is None else value for value in values]


def _thin_out(count: int) -> list[int]:
    """Return the indices that are labelled, so that labels of many classes don't cover each other."""
    return list(range(0, count, -(-count // 60)))


def _shorten(name: str, limit: int = MAX_LABEL_CHARACTERS) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
