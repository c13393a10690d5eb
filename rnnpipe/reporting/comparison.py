"""Two models side by side: what each answered on the test images, what each costs, and in what they differ."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.standing import Comparison, Standing, compare
from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.explanation import differences
from rnnpipe.reporting.page import percent, points

MIB = 2**20
SPEEDS = ("latency_ms_p50", "samples_per_s")


class Outcome(IntEnum):
    """What a comparison found, as the exit code of the command."""

    NO_EVIDENCE = 0
    A_IS_BETTER = 10
    B_IS_BETTER = 11
    OTHER_IMAGES = 12


@dataclass(frozen=True, eq=False)
class Side:
    """A model: what it is called, its answers, the digest of the images, what it was made by.

    `params` are those of its training, `report` is what was measured beside the answers, if that is known.
    """

    name: str
    standing: Standing
    images: str
    params: Mapping[str, Any]
    report: EvaluationReport | None

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the accuracy."""
        return wilson_interval(self.standing.correct, self.standing.total)


@dataclass(frozen=True)
class Row:
    """A figure of both, and what is between them, as text."""

    what: str
    a: str
    b: str
    between: str = ""


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Two models and, where they were measured on the same images, their comparison: B against A."""

    a: Side
    b: Side
    compared: Comparison | None
    significance: float

    @classmethod
    def of(cls, a: Side, b: Side, significance: float) -> "SideBySide":
        """Compare B with A; image by image only where the test images and the classes are the same."""
        is_same = (
            a.images == b.images
            and a.standing.classes == b.standing.classes
            and np.array_equal(a.standing.labels_N, b.standing.labels_N)
        )
        return cls(a, b, compare(b.standing, a.standing, significance) if is_same else None, significance)

    @property
    def outcome(self) -> Outcome:
        """What was found."""
        if self.compared is None:
            return Outcome.OTHER_IMAGES
        if self.compared.p_value > self.significance or not self.compared.difference:
            return Outcome.NO_EVIDENCE
        return Outcome.B_IS_BETTER if self.compared.difference > 0 else Outcome.A_IS_BETTER

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        found = self.compared
        if found is None:
            return (
                "the two were measured on different test images, so they can't be compared image by image; each"
                " has its interval"
            )
        test = f"{found.fixed:,} fixed, {found.broken:,} broken, McNemar's exact test: p = {found.p_value:.2g}"
        if not found.fixed + found.broken:
            return f"both are right and wrong on the same of {self.a.standing.total:,} test images"
        if self.outcome is Outcome.NO_EVIDENCE:
            return f"no evidence that one is better ({test})"
        return f"{'B' if self.outcome is Outcome.B_IS_BETTER else 'A'} is better ({test})"

    @property
    def rows(self) -> list[Row]:
        """The figures of both."""
        return [*self._accuracy(), *self._costs()]

    @property
    def config_differences(self) -> list[str]:
        """Each field that differs between the two trainings, as "field A → B"."""
        return differences(self.a.params, self.b.params)

    def as_json(self) -> dict[str, Any]:
        """Return what was found as JSON values; of what can't be compared, None."""
        return {
            "outcome": self.outcome.name,
            "sentence": self.sentence,
            "a": _as_json(self.a),
            "b": _as_json(self.b),
            **(asdict(self.compared) if self.compared else dict.fromkeys(Comparison.__dataclass_fields__)),
            "significance": self.significance,
            "config": self.config_differences,
        }

    def _accuracy(self) -> Iterator[Row]:
        a, b, found = self.a, self.b, self.compared
        between = disagree = ""
        if found is not None:
            low, high = map(points, found.interval)
            level = f"{100 * (1 - self.significance):g} %"
            between = f"{points(found.difference)} points ({level}: {low} to {high})"
            disagree = f"{found.fixed:,} fixed, {found.broken:,} broken"
        yield Row("test accuracy (95 %)", _with_interval(a), _with_interval(b), between)
        yield Row("correct", _correct(a), _correct(b), disagree)

    def _costs(self) -> Iterator[Row]:
        a, b = self.a.report, self.b.report
        timed_a, timed_b = (f"{each.device}, {each.threads} thread(s)" if each else "-" for each in (a, b))
        is_same = timed_a == timed_b
        yield Row("timed on", timed_a, timed_b, "" if is_same else "speeds can't be compared")
        for what, name, form in (
            ("calibration error", "ece", percent),
            ("ms an image", "latency_ms_p50", lambda value: f"{value:.3g}"),
            ("images a second", "samples_per_s", lambda value: f"{value:,.0f}"),
            ("weights", "parameters", lambda value: f"{value:,}"),
            ("size", "weights_bytes", _size),
        ):
            of_a, of_b = (None if each is None else getattr(each, name) for each in (a, b))
            is_told = is_same if name in SPEEDS else name != "ece"
            between = f"x {of_b / of_a:.3g}" if of_a and of_b and is_told else ""
            text_a, text_b = ("-" if value is None else form(value) for value in (of_a, of_b))
            yield Row(what, text_a, text_b, between)


def _as_json(side: Side) -> dict[str, Any]:
    low, high = side.interval
    standing, report = side.standing, side.report
    return {
        "name": side.name, "images": side.images, "correct": standing.correct, "total": standing.total,
        "accuracy": standing.accuracy, "accuracy_low": low, "accuracy_high": high,
        "latency_ms_p50": report.latency_ms_p50 if report else None,
        "weights_bytes": report.weights_bytes if report else None,
    }  # fmt: skip


def _with_interval(side: Side) -> str:
    low, high = (f"{100 * limit:.2f}" for limit in side.interval)
    return f"{percent(side.standing.accuracy)} ({low} to {high})"


def _correct(side: Side) -> str:
    return f"{side.standing.correct:,} of {side.standing.total:,}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.2f} MiB" if size_bytes >= MIB else f"{size_bytes:,} bytes"
