"""Whether a candidate becomes the champion: a pure function of two standings and a rule."""

from enum import StrEnum
from fractions import Fraction

from rnnpipe.config import RegistryConfig
from rnnpipe.evaluation.report import Record


class Decision(StrEnum):
    """What happens to a candidate: it becomes champion, it waits, or it is turned down."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    REJECT = "REJECT"


class Standing(Record):
    """What a model version reached on the test images."""

    version: str
    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of the test images that were classified correctly."""
        return self.correct / self.total


class Verdict(Record):
    """The decision, the sentence that gives its reason, and the figures it rests on."""

    decision: Decision
    reason: str
    total: int
    candidate_version: str
    candidate_correct: int
    candidate_accuracy: float
    champion_version: str | None = None
    champion_correct: int | None = None
    champion_accuracy: float | None = None


def decide(candidate: Standing, champion: Standing | None, rule: RegistryConfig) -> Verdict:
    """Return PROMOTE, HOLD or REJECT for a candidate, with the reason in words.

    Both must have been measured on the same test images. Below `minimum_accuracy` the answer is REJECT, even
    without a champion; PROMOTE needs a gain above `minimum_gain` and above zero.
    """
    if candidate.accuracy < rule.minimum_accuracy:
        decision, reason = Decision.REJECT, _fails_gate(candidate, rule)
    elif champion is None:
        decision, reason = Decision.PROMOTE, f"{_alone(candidate)}, and there is no champion yet"
    else:
        decision, reason = _compare(candidate, champion, rule)
    return Verdict(
        decision=decision,
        reason=reason,
        total=candidate.total,
        candidate_version=candidate.version,
        candidate_correct=candidate.correct,
        candidate_accuracy=candidate.accuracy,
        champion_version=champion.version if champion else None,
        champion_correct=champion.correct if champion else None,
        champion_accuracy=champion.accuracy if champion else None,
    )


def _compare(candidate: Standing, champion: Standing, rule: RegistryConfig) -> tuple[Decision, str]:
    assert candidate.total == champion.total, "standings of different test images can't be compared"
    gained = candidate.correct - champion.correct
    accuracies = f"{candidate.accuracy:.4f} against {champion.accuracy:.4f}"
    facts = f"{accuracies} on the same {candidate.total:,} test images"
    minimum = f"the minimum gain of {rule.minimum_gain:.4f}"
    if gained < 0:
        return Decision.REJECT, f"{facts}: {_images(-gained)} fewer, so it is worse than the champion"
    if gained == 0:
        return Decision.HOLD, f"{facts}: a tie, and a tie changes nothing"
    # As a float 0.29 * 100 is below 29: a gain of exactly the minimum would pass.
    if Fraction(gained, candidate.total) > Fraction(str(rule.minimum_gain)):
        return Decision.PROMOTE, f"{facts}: {_images(gained)} more, which is more than {minimum}"
    return Decision.HOLD, f"{facts}: {_images(gained)} more, which is not more than {minimum}"


def _fails_gate(candidate: Standing, rule: RegistryConfig) -> str:
    return f"{_alone(candidate)}, which is below the minimum accuracy of {rule.minimum_accuracy:.4f}"


def _alone(candidate: Standing) -> str:
    return f"{candidate.accuracy:.4f} on {candidate.total:,} test images"


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"
