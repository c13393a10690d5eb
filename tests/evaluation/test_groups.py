"""Variants over their seeds: means, intervals, and which of them the evidence separates."""

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from rnnpipe.evaluation.groups import by_label, separation, summarise
from rnnpipe.evaluation.statistics import mcnemar_p_value, mean_interval, wilson_interval

N = 2000


def nets(accuracy: float, seeds: int, number: int, spread: float = 0.0) -> np.ndarray:
    """Return what nets recognise, (S, N): at random, each seed with an accuracy of its own."""
    random = np.random.default_rng(number)
    shares = accuracy + spread * random.standard_normal(seeds)
    return random.random((seeds, N)) < shares[:, None]


def test_a_mean_has_student_s_interval() -> None:
    values = [0.91, 0.93, 0.92, 0.95, 0.90]
    expected = t.interval(0.95, 4, np.mean(values), np.std(values, ddof=1) / 5**0.5)
    assert mean_interval(values) == pytest.approx(expected)
    assert mean_interval([1.0, 1.0]) == (1.0, 1.0)


def test_single_seeds_are_compared_by_the_exact_test() -> None:
    a, b = nets(0.9, 1, 1), nets(0.85, 1, 2)
    fixed, broken = int((a & ~b).sum()), int((b & ~a).sum())
    assert separation(a, b) == mcnemar_p_value(fixed, broken) < 0.05
    assert separation(a, a) == 1.0
    one = summarise({"a": a})[0]
    assert (one.accuracy_low, one.accuracy_high) == wilson_interval(int(a.sum()), N) and one.group == 1


def test_without_a_spread_of_seeds_it_is_the_paired_test_of_the_images() -> None:
    a_N, b_N = nets(0.9, 1, 3)[0], nets(0.88, 1, 4)[0]
    a, b = np.stack([a_N, a_N, a_N]), np.stack([b_N, b_N])
    assert separation(a, b) == pytest.approx(ttest_rel(a_N.astype(float), b_N.astype(float)).pvalue, rel=1e-6)
    assert separation(a, b) == pytest.approx(separation(b, a))


def test_equal_variants_are_rarely_told_apart_whatever_their_seeds_do() -> None:
    """Over many draws of two equal variants whose seeds differ more than the images would tell."""
    found = [
        separation(nets(0.9, 5, 2 * draw, spread=0.02), nets(0.9, 5, 2 * draw + 1, spread=0.02))
        for draw in range(400)
    ]
    assert 0.01 < np.mean(np.array(found) <= 0.05) < 0.09
    assert (
        np.mean([separation(nets(0.95, 5, 2 * d, 0.01), nets(0.9, 5, 2 * d + 1, 0.01)) < 0.05 for d in range(50)])
        > 0.9
    )


def test_of_many_equal_variants_the_best_is_rarely_told_from_another() -> None:
    """Whichever comes out best is compared with all others: the chance of any error is kept, not that of one."""
    draws = 200
    told = sum(
        max(each.group for each in summarise({str(k): nets(0.9, 1, 10 * draw + k) for k in range(10)})) > 1
        for draw in range(draws)
    )
    assert told / draws < 0.08  # 0.05 within chance; of one comparison each it would be 0.15


def test_groups_begin_where_the_evidence_does() -> None:
    found = summarise({"poor": nets(0.6, 3, 5), "best": nets(0.95, 3, 6), "as good": nets(0.949, 3, 7)})
    assert [(each.label, each.group) for each in found] == [("best", 1), ("as good", 1), ("poor", 2)]
    assert all(each.accuracy_low < each.accuracy < each.accuracy_high and each.seeds == 3 for each in found)


def test_nets_are_stacked_by_label() -> None:
    rows = [np.array([True, False]), np.array([False, False]), np.array([True, True])]
    found = by_label(["a", "b", "a"], rows)
    assert found["a"].tolist() == [[True, False], [True, True]] and found["b"].shape == (1, 2)
