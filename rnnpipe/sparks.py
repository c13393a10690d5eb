"""Numbers as a line of bars, as a terminal shows how they went."""

import math
from collections.abc import Sequence
from itertools import pairwise

BARS = "▁▂▃▄▅▆▇█"


def spark(numbers: Sequence[float], width: int | None = None) -> str:
    """Return a bar a number, scaled from the lowest to the highest; what isn't finite is left out.

    Of more than `width` numbers, each bar is the mean of an equal share of them.
    """
    shown = [number for number in numbers if math.isfinite(number)]
    if width is not None and len(shown) > width:
        edges = [len(shown) * place // width for place in range(width + 1)]
        shown = [math.fsum(shown[first:last]) / (last - first) for first, last in pairwise(edges)]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    heights = ((number - low) / (high - low) if high > low else 1 for number in shown)
    return "".join(BARS[round(height * (len(BARS) - 1))] for height in heights)
