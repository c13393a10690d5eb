import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnpipe.evaluation import metrics
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.evaluation.statistics import wilson_interval

# Four images, three classes; the third is taken for class 0, the others are right.
PROBABILITIES_NK = np.array(
    [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.75, 0.125, 0.125], [0.0, 0.0, 1.0]], np.float32
)
LABELS_N = np.array([0, 1, 2, 2])


def textbook_wilson(correct: int, total: int, z: float = 1.959963984540054) -> tuple[float, float]:
    share = correct / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return centre - half, centre + half


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_is_the_textbook_formula(counts):
    low, high = wilson_interval(*counts)
    assert (low, high) == pytest.approx(textbook_wilson(*counts), abs=1e-9)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12 and counts[0] / counts[1] - 1e-12 <= high <= 1


def test_wilson_interval_narrows_with_less_confidence():
    assert wilson_interval(8, 10, confidence=0.5)[0] > wilson_interval(8, 10)[0]


def test_loss_is_the_mean_negative_log_likelihood_in_nats():
    by_hand = -(math.log(0.5) + math.log(0.5) + math.log(0.125) + math.log(1)) / 4
    assert metrics.mean_loss(PROBABILITIES_NK, LABELS_N) == pytest.approx(by_hand)


def test_loss_of_a_certain_mistake_is_large_and_finite():
    assert metrics.mean_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(12 * math.log(10))


def test_accuracy_counts_the_most_probable_classes():
    assert metrics.count_correct(PROBABILITIES_NK, LABELS_N) == 3
    assert metrics.accuracy(PROBABILITIES_NK, LABELS_N) == 0.75


def test_class_scores_and_macro_f1_by_hand():
    scores = metrics.class_scores(PROBABILITIES_NK, LABELS_N)
    np.testing.assert_allclose(scores.precision_K, [1 / 2, 1, 1])
    np.testing.assert_allclose(scores.recall_K, [1, 1, 1 / 2])
    np.testing.assert_allclose(scores.f1_K, [2 / 3, 1, 2 / 3])
    np.testing.assert_array_equal(scores.support_K, [1, 1, 2])
    assert metrics.macro_f1(PROBABILITIES_NK, LABELS_N) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_a_class_without_images_scores_zero():
    scores = metrics.class_scores(np.array([[0.9, 0.1, 0.0]]), np.array([0]))
    np.testing.assert_array_equal(scores.f1_K, [1, 0, 0])


def test_confusion_matrix_has_true_classes_as_rows():
    counts_KK = metrics.confusion_matrix(PROBABILITIES_NK, LABELS_N)
    np.testing.assert_array_equal(counts_KK, [[1, 0, 0], [0, 1, 0], [1, 0, 1]])


def test_calibration_error_by_hand():
    # Confidences 0.5, 0.5, 0.75, 1.0 fall into three bins with 2, 1 and 1 images, of which 2, 0 and 1 are right.
    by_hand = (abs(2 - 1.0) + abs(0 - 0.75) + abs(1 - 1.0)) / 4
    assert metrics.expected_calibration_error(PROBABILITIES_NK, LABELS_N) == pytest.approx(by_hand)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(2, 12))
def test_calibration_error_is_that_of_a_plain_loop(seed, count, num_classes):
    random = np.random.default_rng(seed)
    probabilities_NK = random.dirichlet(np.full(num_classes, 0.3), count).astype(np.float32)
    labels_N = random.integers(0, num_classes, count)
    error = 0.0
    for number in range(15):
        inside = [
            index
            for index in range(count)
            if number / 15 < float(probabilities_NK[index].max()) <= (number + 1) / 15
        ]
        if inside:
            confidence = sum(float(probabilities_NK[index].max()) for index in inside) / len(inside)
            right = sum(probabilities_NK[index].argmax() == labels_N[index] for index in inside) / len(inside)
            error += len(inside) / count * abs(right - confidence)
    assert metrics.expected_calibration_error(probabilities_NK, labels_N) == pytest.approx(error, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 6))
def test_metrics_stay_in_their_ranges_and_agree(seed, count, num_classes):
    random = np.random.default_rng(seed)
    probabilities_NK = random.dirichlet(np.ones(num_classes), count)
    labels_N = random.integers(0, num_classes, count)
    counts_KK = metrics.confusion_matrix(probabilities_NK, labels_N)
    assert counts_KK.sum() == count
    assert np.trace(counts_KK) == metrics.count_correct(probabilities_NK, labels_N)
    assert 0 <= metrics.expected_calibration_error(probabilities_NK, labels_N) <= 1
    assert 0 <= metrics.macro_f1(probabilities_NK, labels_N) <= 1
    assert metrics.mean_loss(probabilities_NK, labels_N) >= 0


def test_a_metric_measured_on_another_split_has_its_section():
    assert MetricNames.TEST_ECE.on("validation") == "val/ece"
    assert MetricNames.TEST_ACCURACY.on("test") == MetricNames.TEST_ACCURACY
    assert MetricNames.TEST_LOSS.on("validation") == MetricNames.VAL_LOSS
    assert MetricNames.MODEL_PARAMETERS.on("train") == "model/parameters"


@pytest.mark.parametrize("name", MetricNames)
def test_metric_names_have_a_known_section_and_one_quantity(name):
    section, quantity = name.split("/")
    assert section in {"train", "val", "test", "model"} and quantity.replace("_", "").isalnum()
