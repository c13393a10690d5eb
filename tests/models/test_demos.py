"""The tutorial's toy runs, computed again in numpy from the same weights."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from rnnpipe.config import VariantConfig
from rnnpipe.models import demos
from rnnpipe.models.demos import run_demos
from rnnpipe.models.initialization import seeded_weights
from rnnpipe.models.manual import Basic, SingleNeuron
from rnnpipe.models.parity import Parity

THREE_X0 = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 0, 1]])
THREE_X1 = np.array([[9, 8, 7], [0, 0, 0], [6, 5, 4], [3, 2, 1]])
FOUR_X0 = np.hstack([THREE_X0, np.zeros((4, 1))])
FOUR_X1 = np.hstack([THREE_X1, np.zeros((4, 1))])


def test_one_neuron_gives_the_numbers_of_its_equation() -> None:
    report = run_demos(5)[0]
    with seeded_weights(5):
        neuron = SingleNeuron(4, VariantConfig(name="single-neuron")).double()
    w_x, w_y, b = (parameter.detach().numpy() for parameter in neuron.parameters())
    Y0 = np.tanh(FOUR_X0 @ w_x + b)
    Y1 = np.tanh(FOUR_X1 @ w_x + w_y * Y0 + b)
    assert report.shapes == {"Y0": (4, 1), "Y1": (4, 1)}
    np.testing.assert_allclose(np.array(report.outputs["Y0"])[:, 0], Y0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.array(report.outputs["Y1"])[:, 0], Y1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("index", [1, 2])
def test_five_neurons_give_the_numbers_of_their_equation(index: int) -> None:
    report = run_demos(5)[index]
    with seeded_weights(5):
        basic = Basic(3, VariantConfig(name="basic", hidden_size=5)).double()
    W_x, W_y, b = (parameter.detach().numpy() for parameter in basic.parameters())
    Y0 = np.tanh(THREE_X0 @ W_x + b)
    Y1 = np.tanh(THREE_X1 @ W_x + Y0 @ W_y + b)
    assert report.shapes == {"Y0": (4, 5), "Y1": (4, 5)}
    np.testing.assert_allclose(report.outputs["Y0"], Y0, rtol=0, atol=1e-14)
    np.testing.assert_allclose(report.outputs["Y1"], Y1, rtol=0, atol=1e-14)


def test_every_way_to_write_the_net_is_compared_and_agrees() -> None:
    reports = run_demos(0)
    assert [report.name for report in reports] == ["single-neuron", "basic", "rnn-cell"]
    assert [len(report.parity) for report in reports] == [6, 3, 3]
    for report in reports:
        assert report.agrees
        assert report.tolerance == 1e-12
        for pair in report.parity:
            assert max(pair.output_difference, pair.gradient_difference) <= 1e-12


@pytest.mark.parametrize("difference", [1e-9, float("nan")])
def test_a_difference_is_no_agreement(difference: float, monkeypatch: pytest.MonkeyPatch) -> None:
    parity = (Parity(("basic", "nn.RNN"), 0.0, difference),)
    monkeypatch.setattr(demos, "compare", lambda encoders, x_BTI: parity)
    assert not any(report.agrees for report in run_demos(0))


def test_the_seed_decides_and_the_report_is_json() -> None:
    assert run_demos(0) == run_demos(0)
    assert run_demos(0)[1].outputs != run_demos(1)[1].outputs
    for report in run_demos(0):
        assert json.loads(json.dumps(asdict(report)))["agrees"] is True
