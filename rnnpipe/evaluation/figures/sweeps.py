"""Figures of a sweep: its trials in their order, each with its values, and how much each field mattered."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rnnpipe.evaluation.figures.style import COLOURS, name_axes, new_figure, shorten

ACCURACY = "validation\naccuracy"
PALE, DARK, STOPPED = "#BFD3E3", COLOURS[0], "#B4BAC0"
BEHIND = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}  # a label, so that lines don't hide it


class Point(NamedTuple):
    """A trial as it is drawn: number, values by field, validation accuracy; whether it was stopped early."""

    number: int
    values: Mapping[str, Any]
    accuracy: float
    is_pruned: bool


class Axis(NamedTuple):
    """A field's axis: the names of its choices, or None for numbers, which may be drawn by their logarithm."""

    name: str
    choices: tuple[str, ...] | None
    is_log: bool


def trial_course(points: Sequence[Point]) -> Figure:
    """Draw the accuracy of each trial in its order, and the best so far."""
    figure, (axes,) = new_figure(8, 4.2)
    finished = [point for point in points if not point.is_pruned]
    pruned = [point for point in points if point.is_pruned]
    for some, colour, marker, label in (
        (finished, COLOURS[0], "o", "finished"),
        (pruned, STOPPED, "x", "stopped early"),
    ):
        if some:
            numbers, accuracies = [each.number for each in some], [each.accuracy for each in some]
            axes.scatter(numbers, accuracies, s=24, color=colour, marker=marker, label=label)
    best = np.maximum.accumulate([each.accuracy for each in finished])
    axes.step([each.number for each in finished], best, where="post", color=COLOURS[1], label="best so far")
    axes.legend(frameon=False, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    name_axes(axes, "The trials in their order", "trial", "validation accuracy")
    return figure


def importance_bars(importance: Mapping[str, float]) -> Figure:
    """Draw by field the share of the accuracy's variance that it alone explains, the largest on top."""
    figure, (axes,) = new_figure(8, 1.4 + 0.4 * len(importance))
    names = sorted(importance, key=lambda name: importance[name])
    shares = [importance[name] for name in names]
    bars = axes.barh(range(len(names)), shares, color=COLOURS[0], height=0.6)
    axes.bar_label(bars, [f"{100 * share:.0f} %" for share in shares], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), [shorten(name, 40) for name in names], parse_math=False)
    axes.set_xlim(0, max(1.0, *shares) * 1.08)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    name_axes(axes, "How much each field alone explains of the accuracy's variance", "share of the variance", "")
    return figure


def parallel_coordinates(points: Sequence[Point], axes_of: Sequence[Axis]) -> Figure:
    """Draw each trial as a line through its values, the better the darker; stopped ones are dashed and end low.

    The scale of the accuracy is that of the finished trials: one that was stopped had no time to come that far.
    Source: A. Inselberg, “The plane with parallel coordinates”, 1985.
    """
    figure, (axes,) = new_figure(max(7.0, 2.2 * (len(axes_of) + 1)), 5)
    finished = [point.accuracy for point in points if not point.is_pruned]
    low, best = min(finished), max(finished)
    scale = Normalize(low, best if best > low else low + 1e-9, clip=True)
    shading = LinearSegmentedColormap.from_list("trials", [PALE, DARK])
    columns = [_heights([point.values[axis.name] for point in points], axis) for axis in axes_of]
    columns.append([float(scale(point.accuracy)) for point in points])
    for place in sorted(
        range(len(points)), key=lambda place: (not points[place].is_pruned, points[place].accuracy)
    ):
        heights = [column[place] for column in columns]
        axes.plot(
            range(len(columns)), heights, **_line(points[place], best, shading(scale(points[place].accuracy)))
        )
    for place, axis in enumerate(axes_of):
        _label_axis(axes, place, axis, [point.values[axis.name] for point in points])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.08)
    axes.set_xlim(-0.3, len(columns) - 0.7)
    for place in range(len(columns)):
        axes.axvline(place, color="#999999", linewidth=0.8, zorder=0)
    names = [shorten(axis.name.rpartition(".")[2], 20) for axis in axes_of]
    axes.set_xticks(range(len(columns)), [*names, ACCURACY], fontsize=9, parse_math=False)
    axes.set_title("Each trial as a line through its values: best in orange, stopped early dashed", loc="left",
                   fontsize=11)  # fmt: skip
    figure.colorbar(ScalarMappable(scale, shading), ax=axes, format=PercentFormatter(1, decimals=1), pad=0.01)
    return figure


def _line(point: Point, best: float, colour: Any) -> dict[str, Any]:
    """Return how a trial's line looks."""
    if point.is_pruned:
        return {"color": STOPPED, "linewidth": 0.9, "linestyle": "--"}
    return (
        {"color": COLOURS[1], "linewidth": 2.4} if point.accuracy == best else {"color": colour, "linewidth": 1.4}
    )


def _heights(values: Sequence[Any], axis: Axis) -> list[float]:
    """Return where values lie on an axis, from 0 to 1."""
    if axis.choices is not None:
        most = max(len(axis.choices) - 1, 1)
        return [axis.choices.index(str(value)) / most for value in values]
    numbers = [math.log10(value) if axis.is_log else float(value) for value in values]
    low, high = min(numbers), max(numbers)
    return [(number - low) / (high - low) if high > low else 0.5 for number in numbers]


def _label_axis(axes: Any, place: int, axis: Axis, values: Sequence[Any]) -> None:
    """Write beside an axis what its ends, or its choices, stand for."""
    if axis.choices is not None:
        most = max(len(axis.choices) - 1, 1)
        marks = [(number / most, name) for number, name in enumerate(axis.choices)]
    else:
        marks = [(0.0, f"{min(values):.3g}"), (1.0, f"{max(values):.3g}")]
    for height, text in marks:
        label = shorten(text, 14)
        axes.text(place + 0.03, height + 0.015, label, fontsize=8, va="bottom", bbox=BEHIND, parse_math=False)
