"""Figures of reports and leaderboards: how good, on what, with intervals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rnnpipe.evaluation.figures.style import COLOURS, MARKERS, name_axes, new_figure, shorten, thin_out
from rnnpipe.evaluation.leaderboard import LeaderboardRow
from rnnpipe.evaluation.metrics import Floats, Integers, calibration_bins
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.statistics import wilson_interval

SHADE_TICKS = (0, 0.01, 0.05, 0.2, 0.5, 1)
MAX_NUMBERED_CLASSES = 20


def confusion_matrix(report: EvaluationReport) -> Figure:
    """Draw the confusion matrix; the shade is the share of the true class, the number counts images."""
    counts_KK = np.array(report.confusion)
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    names = [shorten(scores.name) for scores in report.per_class]
    size = min(max(5.0, 1.8 + 0.5 * len(names)), 16)
    figure, (axes,) = new_figure(size + 0.8, size)
    # Shades by the power of the share: on a linear scale the mistakes of a good model can't be seen.
    shades = PowerNorm(gamma=0.4, vmin=0, vmax=1)
    image = axes.imshow(share_KK, cmap="Blues", norm=shades)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=SHADE_TICKS, format=PercentFormatter(1))
    bar.set_label("share of the true class")
    ticks = thin_out(len(names))
    chosen = [names[tick] for tick in ticks]
    axes.set_xticks(ticks, chosen, rotation=90 if max(map(len, chosen)) > 3 else 0, parse_math=False)
    axes.set_yticks(ticks, chosen, parse_math=False)
    axes.grid(False)
    if len(names) <= MAX_NUMBERED_CLASSES:
        for row, column in np.argwhere(counts_KK):
            colour = "white" if shades(share_KK[row, column]) > 0.6 else "black"
            axes.text(column, row, counts_KK[row, column], ha="center", va="center", color=colour, fontsize=9)
    wrong = report.total - report.correct
    name_axes(axes, f"{wrong:,} of {report.total:,} {report.split} images mistaken", "predicted", "true")
    return figure


def per_class_bars(report: EvaluationReport) -> Figure:
    """Draw the recall of each class with its Wilson 95 % interval, and the accuracy over all."""
    names = [f"{shorten(scores.name)} ({scores.support:,})" for scores in report.per_class]
    correct_K = [row[index] for index, row in enumerate(report.confusion)]
    figure, (axes,) = new_figure(8, 1.6 + 0.3 * len(names))
    intervals = [
        wilson_interval(correct, scores.support) if scores.support else (0.0, 1.0)
        for correct, scores in zip(correct_K, report.per_class, strict=True)
    ]
    _draw_intervals(axes, names, [scores.recall for scores in report.per_class], intervals)
    axes.axvline(report.accuracy, color=COLOURS[1], linestyle="--", linewidth=1.4)
    title = f"Accuracy {report.accuracy:.2%} (dashed) and recall of each class, with 95 % intervals"
    name_axes(axes, title, "recall", "class (images)")
    return figure


def leaderboard_bars(rows: Sequence[LeaderboardRow]) -> Figure:
    """Draw the test accuracy of each row with its 95 % interval, the first row on top."""
    figure, (axes,) = new_figure(8, 1.6 + 0.34 * len(rows))
    names = [shorten(row.name, 40) for row in rows]
    intervals = [(row.accuracy_low, row.accuracy_high) for row in rows]
    _draw_intervals(axes, names, [row.accuracy for row in rows], intervals)
    name_axes(axes, f"Accuracy on {rows[0].total:,} test images, with 95 % intervals", "test accuracy", "")
    return figure


def reliability_diagram(probabilities_NK: Floats, labels_N: Integers) -> Figure:
    """Draw how often answers given with some confidence are right, with 95 % intervals, and how many there are."""
    figure, (axes, counts) = new_figure(10, 4.2, columns=2)
    bins = calibration_bins(probabilities_NK, labels_N)
    low, high = np.array(
        [wilson_interval(int(right), int(total)) for right, total in zip(*bins[1:], strict=True)]
    ).T
    shares = bins.correct / bins.images
    errors = np.maximum([shares - low, high - shares], 0)
    axes.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1)
    axes.errorbar(bins.confidence, shares, yerr=errors, fmt="o", color=COLOURS[0], capsize=3, linewidth=1.6)
    for panel in (axes, counts):
        panel.set_xlim(-0.02, 1.02)
        panel.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    name_axes(axes, "Right answers by confidence (dashed: calibrated)", "confidence", "share of right answers")
    counts.bar(bins.confidence, bins.images, width=0.04, color=COLOURS[0])
    counts.set_yscale("log")
    name_axes(counts, "How sure the net is", "confidence", "test images")
    return figure


def cost_against_accuracy(rows: Sequence[LeaderboardRow]) -> Figure:
    """Draw the test accuracy with its interval against parameters, and against the latency of one image."""
    figure, panels = new_figure(11, 4.2, columns=2)
    for index, row in enumerate(rows):
        errors = np.maximum([[row.accuracy - row.accuracy_low], [row.accuracy_high - row.accuracy]], 0)
        for axes, cost in zip(panels, (row.parameters, row.latency_ms_p50), strict=True):
            axes.errorbar(
                cost, row.accuracy, yerr=errors, fmt=MARKERS[index % len(MARKERS)], capsize=3, linewidth=1.6,
                color=COLOURS[index % len(COLOURS)], label=shorten(row.name, 40),
            )  # fmt: skip
    for axes, name in zip(panels, ("parameters", "latency of one image, ms"), strict=True):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.tick_params(axis="x", which="minor", labelsize=7)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        edge = _edge(np.array([row.accuracy for row in rows]), np.array([row.accuracy_low for row in rows]))
        if edge is not None:
            axes.set_ylim(bottom=edge)
        name_axes(axes, f"Accuracy against {name.partition(',')[0]}", name, "test accuracy")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _edge(shares: Floats, low: Floats) -> float | None:
    """Return where the axis begins, so that a few far below don't squeeze the others; None for its usual place."""
    median = float(np.median(shares))
    near = shares >= median - max(4 * (float(shares.max()) - median), 0.1)
    return None if near.all() else float(low[near].min()) - 0.01


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
    edge = _edge(centre, low)
    if edge is not None:
        axes.set_xlim(edge, min(float(high.max()) + 0.01, 1.002))
        for position in positions[centre < edge]:
            axes.annotate("◂", (0, position), xycoords=("axes fraction", "data"), va="center", color=COLOURS[0])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
