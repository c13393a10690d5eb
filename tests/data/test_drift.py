"""Images of another kind are told from another draw of the same ones."""

import numpy as np
import pytest

from rnnpipe.catalogue import DATASETS
from rnnpipe.config.data import DataConfig
from rnnpipe.data.drift import DriftReport, Level, stability_index, stability_noise
from rnnpipe.data.embedded import load_digits
from rnnpipe.data.profile import profile_of
from rnnpipe.data.splits import Splitter

CHAMPION = "models:/digits-rows/3"


@pytest.fixture(scope="module")
def digits():
    raw = load_digits(DATASETS["digits"], DataConfig(), None)
    return raw.train_images_NHW, raw.train_labels_N


def training_profile(images_NHW, labels_N, seed=0, classes=tuple("0123456789")):
    train, _ = Splitter("digits", classes, seed).hold_out(labels_N, 0.2, "data.test_fraction")
    return profile_of(images_NHW[train], labels_N[train], classes)


def swapped(labels_N, one, other):
    labels_N = labels_N.copy()
    labels_N[labels_N == one], labels_N[labels_N == other] = -1, one
    labels_N[labels_N == -1] = other
    return labels_N


def kinds(report):
    return {finding.kind for finding in report.drifted}


def test_the_stability_index_is_that_of_the_textbook():
    # shares 0.2 → 0.1 and 0.8 → 0.9: (0.1 - 0.2) ln(0.1 / 0.2) + (0.9 - 0.8) ln(0.9 / 0.8)
    assert stability_index([200_000, 800_000], [100_000, 900_000]) == pytest.approx(0.08109, abs=1e-4)
    assert stability_index([500, 700, 0], [50, 70, 0]) == pytest.approx(0, abs=0.02)
    assert stability_index([0, 100], [100, 0]) > 5


def test_chance_alone_stays_below_the_noise():
    random, shares = np.random.default_rng(0), np.full(10, 0.1)
    indices = [stability_index(*random.multinomial([300, 500], shares)) for _ in range(2000)]
    noise = stability_noise(10, 300, 500, comparisons=1)
    assert 0.003 < np.mean(np.array(indices) > noise) < 0.02  # one in a hundred


@pytest.mark.parametrize("seed", range(1, 6))
def test_another_split_of_the_same_images_is_stable(seed, digits):
    report = DriftReport.of(training_profile(*digits, seed), training_profile(*digits), CHAMPION)
    assert report.level is Level.STABLE and report.drifted == []
    assert report.sentence == f"stable: the 1,437 images are of the kind that {CHAMPION} was trained on"
    assert len(report.findings) == 1 + 10 + 8 + 8


def test_few_images_raise_no_false_alarm(digits):
    images_NHW, labels_N = digits
    random, alarms = np.random.default_rng(0), 0
    for _ in range(60):
        draws = [random.permutation(len(labels_N))[:size] for size in random.choice([50, 150, 400], 2)]
        old, new = (profile_of(images_NHW[draw], labels_N[draw], tuple("0123456789")) for draw in draws)
        alarms += DriftReport.of(new, old, CHAMPION).level is not Level.STABLE
    assert alarms <= 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x, y: (255 - x, y), {"class", "row", "column"}),
        (lambda x, y: ((0.7 * x).astype(np.uint8), y), {"class", "row", "column"}),
        (lambda x, y: (np.roll(x, 1, axis=1), y), {"class"}),
        (lambda x, y: (np.roll(x, 1, axis=2), y), {"column"}),
        (lambda x, y: (x, (y + 1) % 10), {"class"}),
        (lambda x, y: (x, swapped(y, 3, 8)), {"class"}),
    ],
    ids=["inverted", "darker", "shifted down", "shifted right", "relabelled", "two classes swapped"],
)
def test_images_of_another_kind_are_flagged(change, found, digits):
    report = DriftReport.of(training_profile(*change(*digits)), training_profile(*digits), CHAMPION)
    assert report.level is Level.MAJOR and found <= kinds(report)
    assert report.sentence.startswith(f"major against the images of {CHAMPION}: ")


def test_wrong_labels_are_told_by_the_class_they_look_like(digits):
    images_NHW, labels_N = digits
    report = DriftReport.of(
        training_profile(images_NHW, swapped(labels_N, 3, 8)), training_profile(*digits), CHAMPION
    )
    assert {finding.subject: finding.note for finding in report.drifted} == {
        "class 3": "looks like the champion's class 8",
        "class 8": "looks like the champion's class 3",
    }


def test_other_shares_of_the_classes_are_flagged(digits):
    images_NHW, labels_N = digits
    few = (labels_N != 4) | (np.arange(len(labels_N)) % 12 == 0)
    report = DriftReport.of(training_profile(images_NHW[few], labels_N[few]), training_profile(*digits), CHAMPION)
    assert report.level is Level.MODERATE and kinds(report) == {"labels"}
    assert "shares of the classes (PSI 0." in report.sentence


def test_classes_are_matched_by_name(digits):
    images_NHW, labels_N = digits
    names = ("a|b", *"0123456789")
    shifted_N = labels_N + 1
    shifted_N[:150] = 0
    report = DriftReport.of(
        training_profile(images_NHW, shifted_N, classes=names), training_profile(*digits), CHAMPION
    )
    assert kinds(report) == {"labels"} and report.drifted[0].note == "new: a|b"
    assert "new: a\\|b |" in report.markdown()


def test_the_report_survives_json_and_is_a_page(digits):
    report = DriftReport.of(training_profile(255 - digits[0], digits[1]), training_profile(*digits), CHAMPION)
    assert DriftReport.model_validate_json(report.model_dump_json()) == report
    lines = report.markdown().splitlines()
    assert lines[0] == "# Drift: major"
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == 1 + len(report.findings) and all(line.count(" | ") == 5 for line in table)


def test_a_long_report_shows_what_has_changed(digits):
    wide = np.kron(digits[0], np.ones((1, 8, 8), np.uint8))
    changed = wide.copy()
    changed[:, 20:40] //= 3
    report = DriftReport.of(
        training_profile(changed, digits[1]), training_profile(wide, digits[1]), CHAMPION
    ).markdown()
    assert "| row 25 |" in report and "| row 5 |" not in report and "comparisons are left out" in report
