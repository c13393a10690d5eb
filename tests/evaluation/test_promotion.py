from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnpipe.config import RegistryConfig
from rnnpipe.evaluation.promotion import Decision, Standing, Verdict, decide


def standing(correct: int, total: int = 360, version: str = "2") -> Standing:
    return Standing(version=version, correct=correct, total=total)


@pytest.mark.parametrize(
    ("candidate", "champion", "rule", "decision", "words"),
    [
        (350, None, {}, "PROMOTE", "0.9722 on 360 test images, and there is no champion yet"),
        (
            350, 349, {}, "PROMOTE",
            "0.9722 against 0.9694 on the same 360 test images: 1 image more,"
            " which is more than the minimum gain of 0.0000",
        ),
        (351, 349, {}, "PROMOTE", "2 images more"),
        (349, 349, {}, "HOLD", "a tie"),
        (349, 349, {"minimum_gain": 0.01}, "HOLD", "a tie"),
        (350, 349, {"minimum_gain": 0.01}, "HOLD", "1 image more, which is not more than the minimum"),
        (348, 349, {}, "REJECT", "1 image fewer, so it is worse"),
        (340, 349, {"minimum_gain": 0.5}, "REJECT", "9 images fewer"),
        (180, None, {"minimum_accuracy": 0.9}, "REJECT", "0.5000 on 360 test images, which is below the minimum"),
        (180, 100, {"minimum_accuracy": 0.9}, "REJECT", "below the minimum accuracy of 0.9000"),
        (324, None, {"minimum_accuracy": 0.9}, "PROMOTE", "no champion"),
    ],
)  # fmt: skip
def test_every_branch_decides_and_says_why(candidate, champion, rule, decision, words):
    other = None if champion is None else standing(champion, version="1")
    verdict = decide(standing(candidate), other, RegistryConfig(**rule))
    assert verdict.decision == decision
    assert words in verdict.reason
    assert (verdict.candidate_correct, verdict.candidate_accuracy) == (candidate, candidate / 360)
    assert (verdict.champion_correct, verdict.total) == (champion, 360)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_gain_of_exactly_the_minimum_never_promotes(candidate, champion, minimum):
    rule = RegistryConfig(minimum_gain=float(f"0.{minimum:02d}") if minimum < 100 else 1.0)
    verdict = decide(standing(candidate, 100), standing(champion, 100), rule)
    gain = Fraction(candidate - champion, 100)
    assert (verdict.decision is Decision.PROMOTE) == (gain > 0 and gain > Fraction(minimum, 100))
    assert (verdict.decision is Decision.REJECT) == (gain < 0)


def test_different_test_images_are_not_compared():
    with pytest.raises(AssertionError, match="different test images"):
        decide(standing(10, 20), standing(10, 30), RegistryConfig())
