"""The uncertainty of a measured accuracy."""


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval (low, high) of the share correct/total.

    Source: E. B. Wilson, “Probable inference, the law of succession, and statistical inference”, 1927.
    """
    from scipy.stats import binomtest  # slow to import, and reading a report needs none of it

    interval = binomtest(correct, total).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)
