"""What got slower since the last committed figures, by ratios to a reference that was measured beside them."""

from benchmarks.rounds import Spread
from benchmarks.suite import Benchmark, Result, machine_of

MIN_LOSS = 0.05  # of the median; less isn't worth a line
WITHOUT_SPREAD = 0.15  # the loss that is told of a ratio that comes without its range

Ratio = Spread | float


def got_slower(before: Ratio, now: Ratio) -> bool:
    """Return whether a ratio fell by more than its repeats scatter.

    That is: by more than 5 %, and each median lies outside the other's range. Of two equal series of five, one in
    forty looks like that. Without ranges: by more than 15 %.
    """
    old, new = _as_spread(before), _as_spread(now)
    if isinstance(before, dict) and isinstance(now, dict):
        is_apart = new["median"] < old["min"] and new["max"] < old["median"]
        return is_apart and new["median"] < (1 - MIN_LOSS) * old["median"]
    return new["median"] < (1 - WITHOUT_SPREAD) * old["median"]


def is_gross_loss(before: Ratio, now: Ratio) -> bool:
    """Return whether a ratio fell to half, even in its best round: no noise does that."""
    return _as_spread(now)["max"] < _as_spread(before)["median"] / 2


def compare(benchmark: Benchmark, before: Result | None, now: Result) -> list[str]:
    """Return the lines that tell what got slower on a machine, or why there is nothing to compare with."""
    name = benchmark.NAME
    if before is None:
        return [f"{name}: no earlier figures of {machine_of(now)} to compare with"]
    try:
        old, new = ratios_of(benchmark, before), ratios_of(benchmark, now)
    except (KeyError, TypeError):
        return [f"{name}: not compared, the last figures have another form"]
    lines = [f"{name}: {key} is gone" for key in old if key not in new]
    for key in (key for key in new if key in old):
        if got_slower(old[key], new[key]):
            fell = f"{_as_spread(old[key])['median']:.2f} to {_as_spread(new[key])['median']:.2f}"
            lines.append(f"{name}: SLOWER: {key} fell from {fell} times the reference")
    return lines or [f"{name}: nothing got slower ({len(new)} ratios)"]


def ratios_of(benchmark: Benchmark, result: Result) -> dict[str, Ratio]:
    """Return the ratios of a result; none where the benchmark has no reference."""
    ratios = getattr(benchmark, "ratios", None)
    return {} if ratios is None else dict(ratios(result))


def _as_spread(ratio: Ratio) -> Spread:
    return ratio if isinstance(ratio, dict) else {"median": ratio, "min": ratio, "max": ratio}
