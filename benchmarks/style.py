"""One style for all figures: colours that the colour-blind can tell apart, and marks that differ too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

# Okabe and Ito (2008), without yellow, which is hard to see on white
COLORS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++")
DPI = 130


def figure_with_axes(columns: int = 1, *, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with axes side by side, without frames above and at the right."""
    figure = Figure(figsize=(max(7.0, 3.6 * columns), 3.6), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, columns, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure, axes


def draw_bars(axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[dict[str, float] | None]]) -> None:
    """Draw a group of bars for each name in `groups`, one bar a series: the median, with the range as a line.

    None leaves a gap.
    """
    width = 0.8 / len(series)
    for place, (label, spreads) in enumerate(series.items()):
        known = [(number, each) for number, each in enumerate(spreads) if each is not None]
        medians = [each["median"] for _, each in known]
        axes.bar(
            [number + (place - (len(series) - 1) / 2) * width for number, _ in known],
            medians,
            width,
            yerr=[
                [each["median"] - each["min"] for _, each in known],
                [each["max"] - each["median"] for _, each in known],
            ],
            capsize=2,
            label=label,
            color=COLORS[place % len(COLORS)],
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor="white",
            ecolor="#666666",
        )
    axes.set_xticks(range(len(groups)), groups)


def group_of(variant: str, threads: int) -> str:
    """Return the label of a group of bars: a variant with a number of threads."""
    return f"{variant}\n{threads} thread{'s' * (threads > 1)}"


def draw_curve(axes: Axes, place: int, label: str, points: Mapping[float, dict[str, float]]) -> None:
    """Draw medians over sizes, with the range as a band; `place` chooses colour and mark."""
    sizes = sorted(points)
    style: dict[str, Any] = {"color": COLORS[place % len(COLORS)]}
    axes.plot(
        sizes,
        [points[size]["median"] for size in sizes],
        MARKERS[place % len(MARKERS)] + "-",
        label=label,
        **style,
    )
    lows, highs = [points[size]["min"] for size in sizes], [points[size]["max"] for size in sizes]
    axes.fill_between(sizes, lows, highs, alpha=0.2, **style)


def grow_along(axes: Axes, sizes: Iterable[int], label: str) -> None:
    """Mark the sizes, such as 30k, on a logarithmic axis below."""
    axes.set_xscale("log")
    axes.set_xticks(list(sizes))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)
