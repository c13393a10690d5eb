"""The uncertainty of a measured accuracy, and of the difference between two on the same images.

Of paired predictions only the images count that one model gets right and the other wrong: those that the new one
has fixed, and those it has broken.
"""

from collections.abc import Sequence

# scipy.stats is slow to import, and reading a report needs none of it


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of the share correct/total.

    Source: E. B. Wilson, “Probable inference, the law of succession, and statistical inference”, 1927.
    """
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval (low, high) of the mean of shares, within 0 to 1; of at least two."""
    from scipy.stats import t

    mean, size = sum(values) / len(values), len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / (size - 1)) ** 0.5
    reach = float(t.ppf((1 + confidence) / 2, size - 1)) * deviation / size**0.5
    return max(mean - reach, 0.0), min(mean + reach, 1.0)


def mcnemar_p_value(fixed: int, broken: int) -> float:
    """Return how likely a split at least as uneven is where both models are equally good: McNemar's exact test.

    Two-sided; 1 where they disagree on no image. Source: Q. McNemar, “Note on the sampling error of the difference
    between correlated proportions or percentages”, 1947.
    """
    from scipy.stats import binomtest

    return float(binomtest(fixed, fixed + broken).pvalue) if fixed + broken else 1.0


def lead_needed(disagreements: int, significance: float) -> int | None:
    """Return the smallest lead (the images one is right on alone, less the other's) that the exact test accepts.

    None where not even all of the disagreements on one side would do.
    """
    from scipy.stats import binom

    # the largest number of losses that is still unlikely enough
    losses = int(binom.ppf(significance / 2, disagreements, 0.5))
    while losses >= 0 and 2 * binom.cdf(losses, disagreements, 0.5) > significance:
        losses -= 1
    return disagreements - 2 * losses if losses >= 0 else None


def paired_interval(fixed: int, broken: int, total: int, confidence: float) -> tuple[float, float]:
    """Return the interval (low, high) of the difference of two accuracies on the same `total` images.

    It is the adjusted Wald interval, half an image added to each cell of the table. It approximates where the test
    is exact: at the edge the two may differ by an image. Source: A. Agresti, Y. Min, “Simple improved confidence
    intervals for comparing matched proportions”, 2005.
    """
    from scipy.stats import norm

    size = total + 2
    difference = (fixed - broken) / size
    deviation = (fixed + broken + 1 - (fixed - broken) ** 2 / size) ** 0.5 / size
    reach = float(norm.ppf((1 + confidence) / 2)) * deviation
    return max(difference - reach, -1.0), min(difference + reach, 1.0)
