"""What an evaluation found, as one frozen record with a JSON round trip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from rnnpipe.evaluation import metrics
from rnnpipe.evaluation.metrics import Floats, Integers, MetricNames, SplitName
from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.files import read_json

REPORT_FILE = "report.json"
PREDICTIONS_FILE = "predictions.safetensors"


class Record(BaseModel):
    """Frozen JSON without NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ClassReport(Record):
    """The scores of one class; support is its number of images."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Scores(Record):
    """How well predictions fit the labels of one split.

    The accuracy carries its Wilson 95 % interval, the loss is in nats, the confusion matrix counts images
    (row = true class, column = predicted class).
    """

    split: SplitName
    total: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    macro_f1: float
    ece: float
    per_class: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, split: SplitName, probabilities_NK: Floats, labels_N: Integers, class_names: Sequence[str]
    ) -> Self:
        """Compute all scores of a split's probabilities (N, K) and labels (N,)."""
        total, correct = len(labels_N), metrics.count_correct(probabilities_NK, labels_N)
        low, high = wilson_interval(correct, total)
        columns = metrics.class_scores(probabilities_NK, labels_N)
        return cls(
            split=split,
            total=total,
            correct=correct,
            accuracy=correct / total,
            accuracy_low=low,
            accuracy_high=high,
            loss=metrics.mean_loss(probabilities_NK, labels_N),
            macro_f1=float(np.mean(columns.f1_K)),
            ece=metrics.expected_calibration_error(probabilities_NK, labels_N),
            per_class=tuple(
                ClassReport(name=name, precision=precision, recall=recall, f1=f1, support=support)
                for name, precision, recall, f1, support in zip(class_names, *columns, strict=True)
            ),
            confusion=metrics.confusion_matrix(probabilities_NK, labels_N).tolist(),
        )


class Speed(Record):
    """Time and memory: latency of one raw image, through torch's layers as it will be served, and throughput in
    batches of `batch_size` images, through the kernels that predicted.

    `batch_size` is what fitted into memory after `halvings`, or the whole split where that is smaller.
    """

    latency_ms_p50: float
    latency_ms_p95: float
    latency_repeats: int
    latency_threads: int | None = None  # those of the conditions, where an older report doesn't say
    samples_per_s: float
    throughput_repeats: int
    batch_size: int
    halvings: int
    peak_memory_mib: float


class Reading(Record):
    """How the answers come about: of `images` images, `correct` are right after so many `steps` each.

    An answer is decided at the step from which on it stays what it is at the end; the median is over the images.
    """

    images: int
    steps: tuple[int, ...]
    correct: tuple[int, ...]
    median_decision_step: float


class Robustness(Record):
    """How many of `images` images are recognised when they are changed by each of the levels; the first is 0."""

    kind: str
    levels: tuple[float, ...]
    correct: tuple[int, ...]
    images: int


class Conditions(Record):
    """On what it ran; without them the figures of Speed mean nothing."""

    device: str
    device_reason: str
    threads: int
    precision: str
    precision_reason: str
    kernels: str = "torch"
    kernels_reason: str = ""
    torch_version: str


class EvaluationReport(Scores, Speed, Conditions):
    """An evaluation of one model on one split; `weights_bytes` is the size of its weights file.

    `gradient_norms` are of each step's pixels. The last three are empty in a report of before they were measured.
    """

    parameters: int
    weights_bytes: int
    reading: Reading | None = None
    robustness: tuple[Robustness, ...] = ()
    gradient_norms: tuple[float, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the report in an evaluation's folder."""
        return cls.model_validate(read_json(folder / REPORT_FILE))

    def metrics(self) -> dict[str, float]:
        """Return the figures under the names they have in MLflow."""
        test = {
            MetricNames.TEST_LOSS: self.loss,
            MetricNames.TEST_ACCURACY: self.accuracy,
            MetricNames.TEST_ACCURACY_PCT: round(100 * self.accuracy, 2),
            MetricNames.TEST_ERROR_PCT: round(100 * (self.total - self.correct) / self.total, 2),
            MetricNames.TEST_ACCURACY_LOW: self.accuracy_low,
            MetricNames.TEST_ACCURACY_HIGH: self.accuracy_high,
            MetricNames.TEST_ACCURACY_LOW_PCT: round(100 * self.accuracy_low, 2),
            MetricNames.TEST_ACCURACY_HIGH_PCT: round(100 * self.accuracy_high, 2),
            MetricNames.TEST_MACRO_F1: self.macro_f1,
            MetricNames.TEST_ECE: self.ece,
            MetricNames.TEST_LATENCY_MS_P50: self.latency_ms_p50,
            MetricNames.TEST_LATENCY_MS_P95: self.latency_ms_p95,
            MetricNames.TEST_SAMPLES_PER_S: self.samples_per_s,
            MetricNames.TEST_PEAK_MEMORY_MIB: self.peak_memory_mib,
            MetricNames.MODEL_PARAMETERS: float(self.parameters),
            MetricNames.MODEL_WEIGHTS_BYTES: float(self.weights_bytes),
        }
        return {name.on(self.split): value for name, value in test.items()}
