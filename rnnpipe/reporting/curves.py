"""Learning curves as lines of an SVG: they take the colours of their page, and nothing heavy is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 640, 260  # of the plot
MAX_CURVES = 6
MAX_TICKS = 8

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Curve:
    """A line: its name, and its points as SVG takes them."""

    name: str
    points: str


@dataclass(frozen=True)
class Curves:
    """Lines in a plot of WIDTH x HEIGHT, with the places and labels of the ticks; `others` aren't drawn."""

    title: str
    lines: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    others: int = 0
    width: int = WIDTH
    height: int = HEIGHT


def learning_curves(histories: Mapping[str, History]) -> Curves | None:
    """Return the validation accuracy by epoch of the first histories, or their training loss where there is none.

    Each history is a list of epochs as a journal has them. None where no training has made an epoch.
    """
    shown = {name: history for name, history in list(histories.items())[:MAX_CURVES] if history}
    if not shown:
        return None
    validated = all(epoch.get("validation_accuracy") is not None for each in shown.values() for epoch in each)
    column = "validation_accuracy" if validated else "train_loss"
    title = "Accuracy on validation images by epoch" if validated else "Training loss (nats) by epoch"
    values = {name: [(e["epoch"], float(e[column])) for e in history] for name, history in shown.items()}
    epochs = sorted({int(epoch) for points in values.values() for epoch, _ in points})
    numbers = [value for points in values.values() for _, value in points]
    low, high = min(numbers), max(numbers)
    margin = (high - low) * 0.05 or 0.01
    low, high = low - margin, min(high + margin, 1.0) if validated else high + margin

    def x(epoch: float) -> float:
        return round(WIDTH * (epoch - epochs[0]) / max(epochs[-1] - epochs[0], 1), 1)

    def y(value: float) -> float:
        return round(HEIGHT * (high - value) / (high - low), 1)

    lines = tuple(
        Curve(name, " ".join(f"{x(epoch)},{y(value)}" for epoch, value in points))
        for name, points in values.items()
    )
    steps = [low + (high - low) * place / 4 for place in range(5)]
    return Curves(
        title=title,
        lines=lines,
        x_ticks=tuple((x(epoch), str(epoch)) for epoch in epochs[:: -(-len(epochs) // MAX_TICKS)]),
        y_ticks=tuple((y(step), f"{100 * step:.1f} %" if validated else f"{step:.2f}") for step in steps),
        others=len(histories) - len(shown),
    )
