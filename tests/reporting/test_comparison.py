"""Two models side by side: what is found, how it is told, and the exit code that says it."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from rnnpipe.evaluation.standing import Standing
from rnnpipe.reporting.comparison import Outcome, Side, SideBySide
from rnnpipe.reporting.comparison_page import comparison_page

CLASSES = ("a", "b", "<i>c</i>")


def side(wrong: slice, *, images: str = "1" * 64, total: int = 300, **params: Any) -> Side:
    """Return a model that mistakes these images."""
    labels_N = np.arange(total) % len(CLASSES)
    predicted_N = labels_N.copy()
    predicted_N[wrong] = (predicted_N[wrong] + 1) % len(CLASSES)
    standing = Standing("v", predicted_N, labels_N, CLASSES, 1.0, 100)
    return Side("a model", standing, images, params, None)


@pytest.mark.parametrize(
    ("a", "b", "outcome", "sentence"),
    [
        (
            slice(0, 60),
            slice(0, 30),
            Outcome.B_IS_BETTER,
            "B is better (30 fixed, 0 broken, McNemar",
        ),
        (slice(0, 30), slice(0, 60), Outcome.A_IS_BETTER, "A is better (0 fixed, 30 broken, "),
        (
            slice(0, 30),
            slice(20, 52),
            Outcome.NO_EVIDENCE,
            "no evidence that one is better (20 fixed, 22 broken",
        ),
        (
            slice(0, 30),
            slice(0, 30),
            Outcome.NO_EVIDENCE,
            "both are right and wrong on the same of 300",
        ),
    ],
)
def test_the_same_images_are_compared_one_by_one(a: slice, b: slice, outcome: Outcome, sentence: str) -> None:
    found = SideBySide.of(side(a), side(b), 0.05)
    assert found.outcome is outcome and found.sentence.startswith(sentence)
    assert SideBySide.of(side(a), side(b), 1e-12).outcome is Outcome.NO_EVIDENCE


def test_the_difference_is_that_of_b_against_a() -> None:
    found = SideBySide.of(side(slice(0, 60)), side(slice(0, 30)), 0.05)
    accuracy, correct, *costs = found.rows
    assert (accuracy.a, accuracy.b) == ("80.00 % (75.11 to 84.13)", "90.00 % (86.08 to 92.91)")
    assert accuracy.between.startswith("+10.00 points (95 %: +6.") and correct.between == "30 fixed, 0 broken"
    assert {row.a for row in costs} == {"-"}


@pytest.mark.parametrize("other", [{"images": "2" * 64}, {"total": 299}])
def test_other_images_are_not_compared_image_by_image(other: dict[str, Any]) -> None:
    found = SideBySide.of(side(slice(0, 60)), side(slice(0, 30), **other), 0.05)
    assert found.outcome is Outcome.OTHER_IMAGES and "different test images" in found.sentence
    assert found.rows[0].between == "" and "(86." in found.rows[0].b
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["p_value"] is told["interval"] is None and told["b"]["accuracy_low"] > 0.8


def test_the_config_s_differences_are_named() -> None:
    a, b = (side(slice(0, 1), training={"epochs": epochs, "batch_size": 8}, seed=0) for epochs in (2, 3))
    found = SideBySide.of(a, b, 0.05)
    assert found.config_differences == ["training.epochs 2 → 3"]
    assert json.loads(json.dumps(found.as_json()))["config"] == ["training.epochs 2 → 3"]


def test_what_is_measured_beside_it_is_set_side_by_side(kept: Any) -> None:
    report = kept.evaluation("one", 30)[1]
    a = dataclasses.replace(side(slice(0, 30)), report=report)
    faster = report.model_copy(update={"latency_ms_p50": 0.25, "weights_bytes": 3 * 2**20})
    found = SideBySide.of(a, dataclasses.replace(a, report=faster), 0.05)
    rows = {row.what: row for row in found.rows}
    assert (rows["ms an image"].a, rows["ms an image"].b, rows["ms an image"].between) == ("0.5", "0.25", "x 0.5")
    assert (rows["size"].a, rows["size"].b) == ("56 bytes", "3.00 MiB")
    assert (rows["timed on"].a, rows["timed on"].between) == ("cpu, 1 thread(s)", "")


def test_speeds_of_other_devices_are_not_set_against_each_other(kept: Any) -> None:
    report = kept.evaluation("one", 30)[1]
    a = dataclasses.replace(side(slice(0, 30)), report=report)
    elsewhere = report.model_copy(update={"device": "cuda:0"})
    rows = {row.what: row for row in SideBySide.of(a, dataclasses.replace(a, report=elsewhere), 0.05).rows}
    assert rows["timed on"].b == "cuda:0, 1 thread(s)" and "can't be compared" in rows["timed on"].between
    assert rows["ms an image"].between == rows["images a second"].between == "" and rows["size"].between == "x 1"


def test_the_page_shows_classes_and_changed_images(kept: Any) -> None:
    images_NHW = np.zeros((300, 8, 8), np.uint8)

    def build(folder: Any) -> dict[str, Any]:
        np.save(folder / "test_images.npy", images_NHW)
        return {}

    from rnnpipe.references import Recipe

    images = kept.store.ensure(Recipe(stage="datasets", inputs={}), build, "run").ref.digest
    found = SideBySide.of(side(slice(0, 60), images=images), side(slice(0, 30), images=images), 0.05)
    page = comparison_page(found, kept.store)
    assert page.count("data:image/png;base64,") == 2 and "Test images that B gets right and A gets wrong" in page
    assert "&lt;i&gt;c&lt;/i&gt;" in page and "<i>c</i>" not in page and "http" not in page
    bare = comparison_page(SideBySide.of(side(slice(0, 60)), side(slice(0, 30), total=299), 0.05), kept.store)
    assert "Class by class" not in bare and "different test images" in bare
