"""Curves over epochs, versions and steps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rnnpipe.evaluation.figures.style import COLOURS, line_style, name_axes, new_figure, shorten, thin_out
from rnnpipe.evaluation.report import Reading, Robustness
from rnnpipe.evaluation.statistics import wilson_interval

History = Sequence[Mapping[str, Any]]


def learning_curves(histories: Mapping[str, History]) -> Figure:
    """Draw loss and validation accuracy by epoch, one colour a label.

    Each history is a list of epochs with epoch, train_loss, validation_loss and validation_accuracy. The
    last two are None or missing where there are no validation images; then only the training loss is drawn.
    """
    all_epochs = [epoch for history in histories.values() for epoch in history]
    validated = any(epoch.get("validation_loss") is not None for epoch in all_epochs)
    columns = ["validation_loss", "validation_accuracy"] if validated else ["train_loss"]
    height = max(4.2, 1 + 0.22 * len(histories))
    figure, all_axes = new_figure(2 + 4.5 * len(columns), height, columns=len(columns))
    for index, (label, history) in enumerate(histories.items()):
        epochs = [epoch["epoch"] for epoch in history]
        style, marks = line_style(index, len(history))
        for axes, column in zip(all_axes, columns, strict=True):
            axes.plot(epochs, _numbers(history, column), label=shorten(label, 40), **style, **marks)
        if validated:
            all_axes[0].plot(epochs, _numbers(history, "train_loss"), linestyle=":", **style)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    title = "Loss on validation images (dotted: training)" if validated else "Training loss"
    name_axes(all_axes[0], title, "epoch", "mean loss (nats)")
    if validated:
        name_axes(all_axes[1], "Accuracy on validation images", "epoch", "accuracy")
        all_axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    for axes in all_axes:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    figure, (axes,) = new_figure(min(max(6.0, 2 + 0.5 * len(points)), 16), 4.2)
    axes.plot([point.accuracy for point in points], color="#999999", linewidth=1)
    for place, point in enumerate(points):
        low, high = point.interval
        errors = [[max(point.accuracy - low, 0)], [max(high - point.accuracy, 0)]]
        colour = COLOURS[1] if point.aliases else COLOURS[0]
        axes.errorbar(place, point.accuracy, yerr=errors, fmt="o", color=colour, capsize=3, linewidth=1.6)
        if place and point.data != points[place - 1].data:
            axes.axvline(place - 0.5, color=COLOURS[6], linestyle=":", linewidth=1)
    ticks = thin_out(len(points))
    labels = [f"{points[tick].number}\n{points[tick].aliases}" for tick in ticks]
    axes.set_xticks(ticks, labels, fontsize=9, parse_math=False)
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    name_axes(axes, f"{name}: accuracy on test images, with 95 % intervals", "version", "test accuracy")
    return figure


def _numbers(history: History, column: str) -> list[float]:
    values = (epoch.get(column) for epoch in history)
    return [float("nan") if value is None else value for value in values]


def accuracy_while_reading(readings: Mapping[str, Reading]) -> Figure:
    """Draw for each label the share of right answers after each number of steps, and when half of them fell."""
    figure, (axes,) = new_figure(8, 4.4)
    for index, (label, reading) in enumerate(readings.items()):
        style, marks = line_style(index, len(reading.steps))
        shares = [correct / reading.images for correct in reading.correct]
        decided = f"{shorten(label, 40)}: half decided at step {reading.median_decision_step:g}"
        axes.plot(reading.steps, shares, label=decided, **style, **marks)
        _draw_band(axes, reading.steps, reading.correct, reading.images, style["color"])
        axes.axvline(reading.median_decision_step, color=style["color"], linestyle=":", linewidth=1)
    axes.legend(frameon=False, fontsize=9)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    most = max(reading.images for reading in readings.values())
    title = f"Accuracy when only the first steps are read: {most:,} test images, 95 % intervals"
    name_axes(axes, title, "steps read", "accuracy")
    return figure


def gradient_reach(norms: Mapping[str, Sequence[float]]) -> Figure:
    """Draw for each label how strongly the pixels of each step move the loss: how far back a net learns from.

    In a plain net the gradient passes through one product and one squashing a step, and over many steps mostly
    vanishes; gates let it pass unchanged where they are open.
    Source: S. Hochreiter, J. Schmidhuber, “Long short-term memory”, 1997, on the way back being multiplied.
    """
    figure, (axes,) = new_figure(8, 4.4)
    for index, (label, values) in enumerate(norms.items()):
        style, marks = line_style(index, len(values))
        axes.plot(range(1, len(values) + 1), values, label=shorten(label, 40), **style, **marks)
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=9)
    title = "How far gradients reach back: norm of the loss's gradient at each step's pixels"
    name_axes(axes, title, "step", "mean norm")
    return figure


def robustness_curves(found: Mapping[str, Sequence[Robustness]]) -> Figure:
    """Draw for each label, and each kind of change, the accuracy on images that are changed more and more."""
    kinds = [each.kind for each in next(iter(found.values()))]
    figure, all_axes = new_figure(3.4 * len(kinds), 3.8, columns=len(kinds))
    for index, (label, changes) in enumerate(found.items()):
        for axes, change in zip(all_axes, changes, strict=True):
            style, marks = line_style(index, len(change.levels))
            shares = [correct / change.images for correct in change.correct]
            axes.plot(change.levels, shares, label=shorten(label, 40), **style, **marks)
            _draw_band(axes, change.levels, change.correct, change.images, style["color"])
    for axes, kind in zip(all_axes, kinds, strict=True):
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        name_axes(axes, kind.partition(",")[0], kind, "accuracy" if axes is all_axes[0] else "")
    most = max(change.images for changes in found.values() for change in changes)
    figure.suptitle(f"Accuracy on {most:,} changed test images, with 95 % intervals", fontsize=11)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _draw_band(axes: Axes, places: Sequence[float], correct: Sequence[int], images: int, colour: str) -> None:
    """Shade the 95 % intervals of a curve of shares."""
    low, high = zip(*(wilson_interval(count, images) for count in correct), strict=True)
    axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
