"""What a model answered on the test images, and how two models compare image by image."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rnnpipe.evaluation.metrics import Integers
from rnnpipe.evaluation.report import PREDICTIONS_FILE, EvaluationReport
from rnnpipe.evaluation.statistics import mcnemar_p_value, paired_interval


@dataclass(frozen=True, eq=False)
class Standing:
    """What a model version answered on the test images, and what it costs to run.

    Predicted and true class numbers (N,), the names of the classes, the median latency of one image, the size of
    the weights.
    """

    version: str
    predicted_N: Integers
    labels_N: Integers
    classes: tuple[str, ...]
    latency_ms: float
    size_bytes: int

    @classmethod
    def read(cls, version: str, folder: Path) -> Self:
        """Return the standing that an evaluation's folder tells of."""
        from safetensors.numpy import load_file

        report, stored = EvaluationReport.read(folder), load_file(folder / PREDICTIONS_FILE)
        return cls(
            version=version,
            predicted_N=stored["probabilities"].argmax(axis=1),
            labels_N=stored["labels"],
            classes=tuple(scores.name for scores in report.per_class),
            latency_ms=report.latency_ms_p50,
            size_bytes=report.weights_bytes,
        )

    @cached_property
    def correct_N(self) -> NDArray[np.bool_]:  # noqa: N802
        """Whether each image was classified correctly."""
        return np.equal(self.predicted_N, self.labels_N)

    @property
    def correct(self) -> int:
        """How many images were classified correctly."""
        return int(self.correct_N.sum())

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.labels_N)

    @property
    def accuracy(self) -> float:
        """Share of the test images that were classified correctly."""
        return self.correct / self.total


@dataclass(frozen=True)
class Comparison:
    """Candidate and champion on the same images: how many the candidate has fixed, and how many broken.

    The difference is that of the accuracies (candidate less champion), its interval has the confidence
    1 - significance; the p-value is that of McNemar's exact test.
    """

    fixed: int
    broken: int
    p_value: float
    difference: float
    interval: tuple[float, float]


def compare(candidate: Standing, champion: Standing, significance: float) -> Comparison:
    """Compare two models image by image."""
    assert np.array_equal(candidate.labels_N, champion.labels_N), "different test images can't be compared"
    fixed = int((candidate.correct_N & ~champion.correct_N).sum())
    broken = int((champion.correct_N & ~candidate.correct_N).sum())
    return Comparison(
        fixed=fixed,
        broken=broken,
        p_value=mcnemar_p_value(fixed, broken),
        difference=(fixed - broken) / candidate.total,
        interval=paired_interval(fixed, broken, candidate.total, 1 - significance),
    )
