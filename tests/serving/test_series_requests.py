"""What a server of series is asked: series as long as they are, padded on the way; anything else is refused."""

import json

import numpy as np
import pytest

from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.serving import images
from rnnpipe.serving.images import checked
from rnnpipe.serving.loopback import Refused


def spec_of(has_lengths=True):
    series = {"names": ["a", "b"], "means": [0, 0], "deviations": [1, 1], "has_lengths": has_lengths}
    facts = {
        "dataset": {"name": "npz", "digest": "d" * 64}, "classes": ["x", "y"], "steps": 3, "features": 2,
        "series": {**series, "columns": None}, "sequence": {"name": "as-is"}, "mean": 0.0, "deviation": 1.0,
    }  # fmt: skip
    return ModelSpec.of(facts, VariantConfig(name="gru"))


def ask(content, has_lengths=True):
    return checked(json.dumps(content).encode(), spec_of(has_lengths))


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_series_are_padded_to_one_length(key):
    passed = json.loads(ask({key: [[[1, 2]], [[1, 2], [3, 4.5], [5, -6]]]}))
    nan = np.nan
    np.testing.assert_array_equal(
        np.array(passed["inputs"]), [[[1, 2], [nan, nan], [nan, nan]], [[1, 2], [3, 4.5], [5, -6]]]
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"inputs": []}, "there are no series"),
        ({"inputs": [[]]}, r"series 0: the shape is \[0\]; each is a list of 1 to 3 steps of 2 numbers"),
        ({"inputs": [[[1, 2]], [[1, 2]] * 4]}, r"series 1: the shape is \[4, 2\]"),
        ({"inputs": [[[1, 2, 3]]]}, r"series 0: the shape is \[1, 3\]"),
        ({"inputs": [[[1, 2], [3]]]}, "series 0: its steps differ in length"),
        ({"inputs": [[1, 2]]}, r"series 0: the shape is \[2\]"),
        ({"inputs": [[["1", "2"]]]}, "the values are numbers"),
        ({"inputs": [[[True, 2]]]}, "the values are numbers"),
        ({"inputs": [[[None, 2]]]}, "the values are numbers"),
        ({"inputs": [[[float("nan"), 2]]]}, "NaN is no number"),
        ({"series": [[[1, 2]]]}, "the keys: series"),
    ],
)
def test_what_is_wrong_is_told(content, reason):
    with pytest.raises(Refused, match=reason):
        ask(content)


def test_a_model_of_one_length_takes_only_that():
    with pytest.raises(Refused, match=r"series 0: it has 1 steps; each is a list of 3 steps"):
        ask({"inputs": [[[1, 2]]]}, has_lengths=False)
    ask({"inputs": [[[1, 2]] * 3]}, has_lengths=False)


def test_what_would_take_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_VALUES", 17)
    with pytest.raises(Refused, match="3 series of up to 3 steps are too many at once"):
        ask({"inputs": [[[1, 2]]] * 3})
