"""The metrics of a classifier: their names, and pure functions of probabilities and labels.

scikit-learn takes long to import and is left out until a function needs it: trainings and pages don't.
"""

from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "validation", "test"]
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

SECTIONS: dict[SplitName, str] = {"train": "train", "validation": "val", "test": "test"}
PROBABILITY_FLOOR = 1e-12  # a certain mistake costs 27.6 nats instead of infinitely many
CALIBRATION_BINS = 15


class MetricNames(StrEnum):
    """The names of all metrics, in MLflow and in JSON; equal for all variants."""

    TRAIN_STEP_LOSS = "train/step_loss"
    TRAIN_LOSS = "train/loss"
    TRAIN_LEARNING_RATE = "train/learning_rate"
    TRAIN_SAMPLES_PER_S = "train/samples_per_s"
    TRAIN_WALL_S = "train/wall_s"
    VAL_LOSS = "val/loss"
    VAL_ACCURACY = "val/accuracy"
    VAL_ACCURACY_PCT = "val/accuracy_pct"
    TEST_LOSS = "test/loss"
    TEST_ACCURACY = "test/accuracy"
    TEST_ACCURACY_PCT = "test/accuracy_pct"
    TEST_ERROR_PCT = "test/error_pct"
    TEST_ACCURACY_LOW = "test/accuracy_low"
    TEST_ACCURACY_HIGH = "test/accuracy_high"
    TEST_ACCURACY_LOW_PCT = "test/accuracy_low_pct"
    TEST_ACCURACY_HIGH_PCT = "test/accuracy_high_pct"
    TEST_MACRO_F1 = "test/macro_f1"
    TEST_ECE = "test/ece"
    TEST_LATENCY_MS_P50 = "test/latency_ms_p50"
    TEST_LATENCY_MS_P95 = "test/latency_ms_p95"
    TEST_SAMPLES_PER_S = "test/samples_per_s"
    TEST_PEAK_MEMORY_MIB = "test/peak_memory_mib"
    MODEL_PARAMETERS = "model/parameters"
    MODEL_WEIGHTS_BYTES = "model/weights_bytes"

    def on(self, split: SplitName) -> str:
        """Return the name of a test metric when it is measured on another split: val/ece for test/ece."""
        section, _, quantity = self.value.partition("/")
        return f"{SECTIONS[split]}/{quantity}" if section == SECTIONS["test"] else self.value


class ClassScores(NamedTuple):
    """Scores of each class, shape (K,) each; 0 where a score has no denominator."""

    precision_K: Floats
    recall_K: Floats
    f1_K: Floats
    support_K: Integers


def mean_loss(probabilities_NK: Floats, labels_N: Integers) -> float:
    """Return the mean negative log likelihood in nats of the true classes."""
    likelihood_N = probabilities_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
    return float(-np.log(np.maximum(likelihood_N, PROBABILITY_FLOOR)).mean())


def count_correct(probabilities_NK: Floats, labels_N: Integers) -> int:
    """Return the number of images whose most probable class is the true one."""
    return int((probabilities_NK.argmax(axis=1) == labels_N).sum())


def accuracy(probabilities_NK: Floats, labels_N: Integers) -> float:
    """Return the share of images whose most probable class is the true one."""
    return count_correct(probabilities_NK, labels_N) / len(labels_N)


def class_scores(probabilities_NK: Floats, labels_N: Integers) -> ClassScores:
    """Return precision, recall, F1 and support of each class."""
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(
        labels_N,
        probabilities_NK.argmax(axis=1),
        labels=np.arange(probabilities_NK.shape[1]),
        zero_division=0,
    )
    return ClassScores(*scores)


def macro_f1(probabilities_NK: Floats, labels_N: Integers) -> float:
    """Return the plain mean of all classes' F1; a class without images that is never predicted counts 0."""
    return float(class_scores(probabilities_NK, labels_N).f1_K.mean())


def confusion_matrix(probabilities_NK: Floats, labels_N: Integers) -> Integers:
    """Return the counts (K, K): row = true class, column = most probable class."""
    from sklearn import metrics

    counts_KK: Integers = metrics.confusion_matrix(
        labels_N, probabilities_NK.argmax(axis=1), labels=np.arange(probabilities_NK.shape[1])
    )
    return counts_KK


class CalibrationBins(NamedTuple):
    """The bins of confidence that hold images: mean confidence, right answers, images, shape (bins,) each."""

    confidence: Floats
    correct: Integers
    images: Integers


def calibration_bins(probabilities_NK: Floats, labels_N: Integers) -> CalibrationBins:
    """Return the images by confidence, in 15 bins of equal width; empty bins are left out."""
    confidence_N = probabilities_NK.max(axis=1).astype(np.float64)
    correct_N = probabilities_NK.argmax(axis=1) == labels_N
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bin_N = np.digitize(confidence_N, inner_edges, right=True)
    images = np.bincount(bin_N, minlength=CALIBRATION_BINS)
    held = images > 0
    confidence = np.bincount(bin_N, weights=confidence_N, minlength=CALIBRATION_BINS)[held] / images[held]
    correct = np.bincount(bin_N[correct_N], minlength=CALIBRATION_BINS)[held]
    return CalibrationBins(confidence, correct, images[held])


def expected_calibration_error(probabilities_NK: Floats, labels_N: Integers) -> float:
    """Return the mean distance between confidence and accuracy over 15 bins of equal width, by bin size.

    Source: Guo, Pleiss, Sun, Weinberger, “On calibration of modern neural networks”, 2017.
    """
    bins = calibration_bins(probabilities_NK, labels_N)
    return float(np.abs(bins.correct - bins.confidence * bins.images).sum() / len(labels_N))


def spread(total: int, most: int) -> Integers:
    """Return the places of all images, or of `most` that are evenly spread over a split."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def surest_mistakes(probabilities_NK: Floats, labels_N: Integers) -> Integers:
    """Return the places of the images that are mistaken, those of the most confident answers first."""
    wrong = np.flatnonzero(probabilities_NK.argmax(axis=1) != labels_N)
    order = np.argsort(-probabilities_NK[wrong].max(axis=1), kind="stable")
    found: Integers = wrong[order]
    return found
