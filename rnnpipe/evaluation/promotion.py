"""Whether a candidate becomes the champion: a pure function of what both answered on the same images, and a rule.

Promoting needs evidence that the candidate is better. Turning it down needs less, as nothing is lost: the champion
stays. Between the two the candidate is held, and waits.
"""

from dataclasses import asdict
from enum import StrEnum
from typing import Any

import numpy as np

from rnnpipe.config import RegistryConfig
from rnnpipe.evaluation.report import Record
from rnnpipe.evaluation.standing import Comparison, Standing, compare
from rnnpipe.evaluation.statistics import lead_needed

MAX_NAME_CHARACTERS = 40


class Decision(StrEnum):
    """What happens to a candidate: it becomes champion, it waits, or it is turned down."""

    PROMOTE = "PROMOTE"
    HOLD = "HOLD"
    REJECT = "REJECT"


class Verdict(Record):
    """The decision, the sentence that gives its reason, and the figures and the rule it rests on.

    What compares with a champion is None where there is none, or none that can be measured on these images.
    `test_looks` counts the models that were measured on them since the champion was made.
    """

    decision: Decision
    reason: str
    rule: RegistryConfig
    total: int
    candidate_version: str
    candidate_correct: int
    candidate_accuracy: float
    champion_version: str | None = None
    champion_correct: int | None = None
    champion_accuracy: float | None = None
    fixed: int | None = None
    broken: int | None = None
    p_value: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    test_looks: int | None = None

    @property
    def evidence(self) -> str:
        """What stands beside the reason, in words; "" without a champion to compare with."""
        if self.interval is None:
            return ""
        low, high = (f"{100 * limit:+.2f}" for limit in self.interval)
        confidence = 100 * (1 - self.rule.significance)
        text = (
            f"difference {_points(self.difference or 0)}, {confidence:g} % interval {low} to {high},"
            f" p = {self.p_value:.2g}"
        )
        if self.test_looks is None:
            return text
        return (
            f"{text}; models measured on these test images since {self.champion_version} was made:"
            f" {self.test_looks:,} (the more, the likelier it is that a lead is chance)"
        )


def decide(
    candidate: Standing, champion: Standing | None, rule: RegistryConfig, *, test_looks: int | None = None
) -> Verdict:
    """Return PROMOTE, HOLD or REJECT for a candidate, with the reason in words.

    Both must have been measured on the same test images. A gate that fails rejects, even without a champion. Else
    a candidate that McNemar's exact test shows to be better is promoted: one that is just as good has a chance of
    half the `significance` at most. One that is shown to be worse, or was measured worse by more than `margin`, is
    rejected; all others are held.
    """
    compared = None if champion is None else compare(candidate, champion, rule.significance)
    if failures := _failed_gates(candidate, rule):
        decision, reason = Decision.REJECT, "; ".join(failures)
    elif compared is None:
        reason = f"{_percent(candidate.accuracy)} on {candidate.total:,} test images, and there was no champion"
        decision = Decision.PROMOTE
    else:
        decision, reason = _judge(compared, candidate.total, rule)
    return Verdict(
        decision=decision,
        reason=reason,
        rule=rule,
        **_of_candidate(candidate),
        champion_version=champion.version if champion else None,
        champion_correct=champion.correct if champion else None,
        champion_accuracy=champion.accuracy if champion else None,
        **(asdict(compared) if compared else {}),
        test_looks=test_looks,
    )


def hold(candidate: Standing, champion_version: str, reason: str, rule: RegistryConfig) -> Verdict:
    """Return the verdict on a candidate that can't be compared with the champion, for a reason in words.

    The gates are for it too: one that fails rejects.
    """
    failures = _failed_gates(candidate, rule)
    return Verdict(
        decision=Decision.REJECT if failures else Decision.HOLD,
        reason="; ".join(failures) or reason,
        rule=rule,
        **_of_candidate(candidate),
        champion_version=champion_version,
    )


def _of_candidate(candidate: Standing) -> dict[str, Any]:
    return {
        "total": candidate.total, "candidate_version": candidate.version,
        "candidate_correct": candidate.correct, "candidate_accuracy": candidate.accuracy,
    }  # fmt: skip


def _judge(compared: Comparison, total: int, rule: RegistryConfig) -> tuple[Decision, str]:
    lead, disagreements = compared.fixed - compared.broken, compared.fixed + compared.broken
    if not disagreements:
        return Decision.HOLD, f"right and wrong on the same of {total:,} test images as the champion"
    needed = lead_needed(disagreements, rule.significance)
    facts = (
        f"{_points(compared.difference)} is {_images(abs(lead))} of {total:,} ({compared.fixed:,} fixed,"
        f" {compared.broken:,} broken); with {disagreements:,} disagreements "
    )
    facts += "no lead is enough" if needed is None else f"{needed:,} net are needed"
    if compared.p_value <= rule.significance:
        is_better = lead > 0
        return (
            Decision.PROMOTE if is_better else Decision.REJECT,
            f"{facts}, so it is {'better' if is_better else 'worse'} than the champion",
        )
    if compared.difference < -rule.margin:
        margin = f"it is more than the margin of {_points(rule.margin, sign='')} below the champion"
        return Decision.REJECT, f"{facts}: that may be chance, but {margin}"
    worst = max(-compared.interval[0], 0.0)
    limit = "within" if worst < rule.margin else "beyond"
    return Decision.HOLD, (
        f"{facts}, so the evidence doesn't tell; it may be up to {_points(worst, sign='')} worse than the"
        f" champion, {limit} the margin of {_points(rule.margin, sign='')}"
    )


def _failed_gates(candidate: Standing, rule: RegistryConfig) -> list[str]:
    """Return each gate that a candidate doesn't pass, in words."""
    failures = []
    if candidate.accuracy < rule.minimum_accuracy:
        failures.append(
            f"accuracy {_percent(candidate.accuracy)} on {candidate.total:,} test images is below the minimum of"
            f" {_percent(rule.minimum_accuracy)}"
        )
    failures += _failed_classes(candidate, rule.minimum_class_recall)
    if rule.maximum_latency_ms is not None and candidate.latency_ms > rule.maximum_latency_ms:
        failures.append(
            f"{candidate.latency_ms:.3g} ms an image are above the maximum of {rule.maximum_latency_ms:g} ms"
        )
    if rule.maximum_size_bytes is not None and candidate.size_bytes > rule.maximum_size_bytes:
        failures.append(
            f"{candidate.size_bytes:,} bytes of weights are above the maximum of {rule.maximum_size_bytes:,}"
        )
    return failures


def _failed_classes(candidate: Standing, floor: float) -> list[str]:
    """Name the class that is recognised least, if that is too seldom, and say how many others are."""
    total_K = np.bincount(candidate.labels_N, minlength=len(candidate.classes))
    correct_K = np.bincount(candidate.labels_N[candidate.correct_N], minlength=len(candidate.classes))
    recall_K = correct_K / np.maximum(total_K, 1)
    below = [int(each) for each in np.argsort(recall_K, kind="stable") if total_K[each] and recall_K[each] < floor]
    if not below:
        return []
    worst, others = below[0], len(below) - 1
    return [
        f"class {candidate.classes[worst][:MAX_NAME_CHARACTERS]} is recognised in {_percent(recall_K[worst])}"
        f" of its {_images(int(total_K[worst]))}, below the floor of {_percent(floor)}"
        + (f", and so {'is 1 other' if others == 1 else f'are {others:,} others'}" if others else "")
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(difference: float, sign: str = "+") -> str:
    return f"{100 * difference:{sign}.2f} points"


def _images(count: int) -> str:
    return f"{count:,} image" if count == 1 else f"{count:,} images"
