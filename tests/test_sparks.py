"""Numbers as bars."""

import math

import pytest

from rnnpipe.sparks import BARS, spark


@pytest.mark.parametrize(
    ("numbers", "width", "bars"),
    [
        ([], None, ""),
        ([3.0], None, "█"),
        ([2, 2], None, "██"),
        (range(8), None, BARS),
        ([7, 0], None, "█▁"),
        ([0, math.nan, 1, math.inf], None, "▁█"),
        ([0, 0, 0, 10, 10], 2, "▁█"),
        ([0, 1], 2, "▁█"),
    ],
)
def test_bars_go_from_the_lowest_to_the_highest(numbers: list[float], width: int | None, bars: str) -> None:
    assert spark(numbers, width) == bars


@pytest.mark.parametrize("count", [1, 5, 16, 17, 1000])
def test_there_is_never_more_than_there_is_room_for(count: int) -> None:
    line = spark([math.sin(number) for number in range(count)], 16)
    assert len(line) == min(count, 16) and set(line) <= set(BARS)
