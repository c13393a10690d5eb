"""All models of a pipeline run side by side, and the choice of the one that is registered."""

from collections.abc import Iterable
from typing import Self

from rnnpipe.evaluation.groups import VariantSummary
from rnnpipe.evaluation.report import EvaluationReport, Record

HEADINGS = (
    "rank", "model", "seed", "test accuracy", "95 % interval", "correct", "val. accuracy", "parameters",
    "training s", "images/s (training)", "latency ms (p50)", "images/s (test)",
)  # fmt: skip

GROUPS = "variants of one group aren't told apart by these test images and seeds (5 %, all comparisons together)"


class TrainingSummary(Record):
    """What a leaderboard needs to know of a training; validation figures are None without such images."""

    label: str
    variant: str
    seed: int
    validation_accuracy: float | None
    validation_loss: float | None
    train_wall_s: float
    train_samples_per_s: float


class LeaderboardRow(TrainingSummary):
    """One trained model: `label` names the variant with its options, such as gru-64x1."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    correct: int
    total: int
    parameters: int
    latency_ms_p50: float
    samples_per_s: float

    @classmethod
    def of(cls, training: TrainingSummary, report: EvaluationReport) -> Self:
        """Join what a training and the evaluation of its model found."""
        measured = cls.model_fields.keys() & EvaluationReport.model_fields.keys()
        return cls(**dict(training), **{name: getattr(report, name) for name in measured})

    @property
    def name(self) -> str:
        """Label and seed: unique in a run."""
        return f"{self.label} · seed {self.seed}"


class Candidate(Record):
    """The row that is registered, and in words how it was chosen."""

    row: LeaderboardRow
    chosen_by: str


class Leaderboard(Record):
    """Rows by test accuracy, best first; of equals the one with fewer parameters. Variants over their seeds."""

    rows: tuple[LeaderboardRow, ...]
    variants: tuple[VariantSummary, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[LeaderboardRow], variants: tuple[VariantSummary, ...] = ()) -> Self:
        """Sort rows into a leaderboard."""
        return cls(rows=tuple(sorted(rows, key=_by_test)), variants=variants)

    def group_of(self, label: str) -> int:
        """Return the group that a variant is in, 1 the best; 0 where that isn't known."""
        return next((each.group for each in self.variants if each.label == label), 0)

    def candidate(self) -> Candidate:
        """Return the row to register, chosen on validation images where there are any.

        Choosing by the test images makes the chosen one's test accuracy look better than it is.
        """
        count = f"{len(self.rows)} model{'s' if len(self.rows) > 1 else ''}"
        if all(row.validation_accuracy is not None for row in self.rows):
            best = min(self.rows, key=_by_validation)
            figure = f"{best.validation_accuracy:.4f}"
            return Candidate(row=best, chosen_by=f"highest validation accuracy of {count} ({figure})")
        best = self.rows[0]
        caution = ", so that figure is optimistic" if len(self.rows) > 1 else ""
        chosen_by = f"highest test accuracy of {count} ({best.accuracy:.4f}), as there are no validation images"
        return Candidate(row=best, chosen_by=f"{chosen_by}{caution}")

    def markdown(self) -> str:
        """Return the table for people, as Markdown."""
        lines = [HEADINGS, ["---:" if heading != "model" else "---" for heading in HEADINGS]]
        lines += [_cells(rank, row) for rank, row in enumerate(self.rows, start=1)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _by_test(row: LeaderboardRow) -> tuple[float, int, str, int]:
    return -row.accuracy, row.parameters, row.label, row.seed


def _by_validation(row: LeaderboardRow) -> tuple[float, float, int, str, int]:
    assert row.validation_accuracy is not None and row.validation_loss is not None
    return -row.validation_accuracy, row.validation_loss, row.parameters, row.label, row.seed


def _cells(rank: int, row: LeaderboardRow) -> list[str]:
    validation = "none" if row.validation_accuracy is None else f"{row.validation_accuracy:.4f}"
    return [
        str(rank), row.label, str(row.seed), f"{row.accuracy:.4f}",
        f"{row.accuracy_low:.4f} to {row.accuracy_high:.4f}", f"{row.correct:,} of {row.total:,}", validation,
        f"{row.parameters:,}", f"{row.train_wall_s:.1f}", f"{row.train_samples_per_s:,.0f}",
        f"{row.latency_ms_p50:.2f}", f"{row.samples_per_s:,.0f}",
    ]  # fmt: skip
