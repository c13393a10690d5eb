import numpy as np
import pytest
from scipy.stats import binom, binomtest

from rnnpipe.evaluation.statistics import lead_needed, mcnemar_p_value, paired_interval


@pytest.mark.parametrize(
    ("fixed", "broken", "p_value"),
    [
        (7, 1, 0.0703125),  # airway reactivity in 21 children: Fagerland, Lydersen, Laake, 2013, table 1
        (16, 6, 0.0524788),
        (0, 0, 1.0),
        (5, 5, 1.0),
        (6, 0, 2 / 64),
    ],
)
def test_the_exact_test_on_known_tables(fixed, broken, p_value):
    assert mcnemar_p_value(fixed, broken) == pytest.approx(p_value, abs=1e-7)
    assert mcnemar_p_value(broken, fixed) == mcnemar_p_value(fixed, broken)
    if fixed + broken:
        assert mcnemar_p_value(fixed, broken) == binomtest(broken, fixed + broken).pvalue


@pytest.mark.parametrize("significance", [0.01, 0.05, 0.0625])
def test_the_lead_that_is_needed_is_the_one_the_test_accepts(significance):
    for disagreements in range(60):
        accepted = [
            2 * fixed - disagreements
            for fixed in range(disagreements + 1)
            if 2 * fixed > disagreements and mcnemar_p_value(fixed, disagreements - fixed) <= significance
        ]
        assert lead_needed(disagreements, significance) == min(accepted, default=None)


def test_of_equal_models_no_more_are_taken_for_better_than_half_of_the_significance():
    for disagreements in range(6, 400):
        needed = lead_needed(disagreements, 0.05)
        assert needed is not None
        assert binom.sf((disagreements + needed) / 2 - 1, disagreements, 0.5) <= 0.025


def test_the_interval_is_that_of_agresti_and_min():
    # the same 21 children; their “Wald+2” interval, as Fagerland, Lydersen, Laake, 2014, give it
    assert paired_interval(7, 1, 21, 0.95) == pytest.approx((0.029, 0.493), abs=5e-4)
    assert paired_interval(0, 0, 360, 0.95) == pytest.approx((-0.0054, 0.0054), abs=1e-4)
    assert paired_interval(1, 0, 1, 0.99) == (pytest.approx(-0.775, abs=1e-3), 1.0)


@pytest.mark.parametrize(
    ("wins", "losses", "total"), [(0.0075, 0.0025, 10_000), (0.03, 0.02, 360), (0.1, 0.02, 360)]
)
def test_the_interval_holds_the_true_difference_as_often_as_it_says(wins, losses, total):
    tables = np.random.default_rng(0).multinomial(total, [wins, losses, 1 - wins - losses], size=2000)
    intervals = [paired_interval(fixed, broken, total, 0.95) for fixed, broken, _ in tables.tolist()]
    covered = np.mean([low <= wins - losses <= high for low, high in intervals])
    assert 0.935 <= covered <= 0.985
