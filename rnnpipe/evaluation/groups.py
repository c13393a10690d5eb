"""Variants over their seeds: the mean with its interval, and which of them the evidence doesn't separate.

Shapes: S seeds, N test images.
"""

from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from rnnpipe.evaluation.report import Record
from rnnpipe.evaluation.statistics import mcnemar_p_value, mean_interval, wilson_interval

SIGNIFICANCE = 0.05  # of all comparisons of a leaderboard together

Correct = NDArray[np.bool_]  # whether each of the same test images is recognised, (S, N)


class VariantSummary(Record):
    """A variant's mean test accuracy over its seeds, with a 95 % interval, and the group that it is in: 1 is best.

    The interval is Student's t over the seeds' accuracies, so it tells how the variant does on these test images
    with other seeds; of a single seed it is Wilson's, and tells how this net does on other images.
    """

    label: str
    seeds: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    group: int


def summarise(correct_SN: Mapping[str, Correct]) -> tuple[VariantSummary, ...]:
    """Return the variants by their mean accuracy, best first, in groups.

    A group is its best variant and those after it that a test doesn't tell from that one; the first that it does
    tell begins the next group. `correct_SN` has by label what each seed's net recognised of the same test images.
    """
    means = {label: float(each_SN.mean()) for label, each_SN in correct_SN.items()}
    labels = sorted(means, key=lambda label: (-means[label], label))
    # Bonferroni over all pairs: which of them are compared hangs on who comes out best.
    threshold = SIGNIFICANCE / max(1, comb(len(labels), 2))
    summaries, leader, group = [], labels[0], 1
    for label in labels:
        if label != leader and separation(correct_SN[leader], correct_SN[label]) <= threshold:
            leader, group = label, group + 1
        low, high = _interval(correct_SN[label])
        summaries.append(
            VariantSummary(
                label=label, seeds=len(correct_SN[label]), accuracy=means[label], accuracy_low=low,
                accuracy_high=high, group=group,
            )
        )  # fmt: skip
    return tuple(summaries)


def separation(a_SN: Correct, b_SN: Correct) -> float:
    """Return the p-value of two variants being equally good: that other images and other seeds would undo it.

    Of one seed each it is McNemar's exact test. Otherwise Student's t of the mean difference, whose variance is
    that over the images (paired) and that over the seeds of each, with Welch's and Satterthwaite's degrees of
    freedom.
    Sources: B. L. Welch, “The generalization of Student's problem …”, 1947; X. Bouthillier et al., “Accounting for
    variance in machine learning benchmarks”, 2021, on both belonging into it.
    """
    if len(a_SN) == len(b_SN) == 1:
        return mcnemar_p_value(int((a_SN & ~b_SN).sum()), int((b_SN & ~a_SN).sum()))
    differences_N = a_SN.mean(axis=0) - b_SN.mean(axis=0)
    parts = [(float(differences_N.var(ddof=1)) / len(differences_N), len(differences_N) - 1)]
    parts += [
        (float(each_SN.mean(axis=1).var(ddof=1)) / len(each_SN), len(each_SN) - 1)
        for each_SN in (a_SN, b_SN)
        if len(each_SN) > 1
    ]
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0 if differences_N.any() else 1.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    from scipy.stats import t  # slow to import

    return float(2 * t.sf(abs(differences_N.mean()) / variance**0.5, freedom))


def _interval(correct_SN: Correct) -> tuple[float, float]:
    if len(correct_SN) == 1:
        return wilson_interval(int(correct_SN.sum()), correct_SN.size)
    return mean_interval(correct_SN.mean(axis=1).tolist())


def by_label(labels: Sequence[str], correct_N: Sequence[NDArray[np.bool_]]) -> dict[str, Correct]:
    """Return what nets recognised, stacked by the label of their variant."""
    found: dict[str, list[NDArray[np.bool_]]] = {}
    for label, each_N in zip(labels, correct_N, strict=True):
        found.setdefault(label, []).append(each_N)
    return {label: np.stack(each) for label, each in found.items()}
