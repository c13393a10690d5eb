"""Orthogonal starts: each gate's recurrent block, Xavier bounds, biases, and the forget gate."""

import math

import pytest
import torch
from torch import Tensor

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import VariantConfig
from rnnpipe.models.classifier import build_classifier

HIDDEN_SIZE, INPUT_SIZE = 64, 7
NUM_GATES = {"gru": 3, "lstm": 4}


def weights(name: str) -> dict[str, Tensor]:
    options = {} if name == "single-neuron" else {"hidden_size": HIDDEN_SIZE}
    if "bidirectional" in VARIANTS[name].options:
        options |= {"bidirectional": True, "num_layers": 2}
    config = VariantConfig.model_validate({"name": name, "initialization": "orthogonal"} | options)
    net = build_classifier(config, input_size=INPUT_SIZE, num_classes=3, seed=0)
    found = {key.split(".")[-1]: value.detach() for key, value in net.encoder.named_parameters()}
    assert found
    return found


every_variant = pytest.mark.parametrize("name", VARIANTS)


@every_variant
def test_recurrent_blocks_are_orthogonal(name: str) -> None:
    recurrent = [w for key, w in weights(name).items() if key.lower().startswith(("weight_hh", "w_y"))]
    expected = 4 if "bidirectional" in VARIANTS[name].options else 1
    assert len(recurrent) == (0 if name.startswith("min-") else expected), "minimal nets have none"
    for weight in recurrent:
        for W in (weight if weight.dim() else weight.view(1, 1)).chunk(NUM_GATES.get(name, 1)):
            assert W.shape[0] == W.shape[1]
            torch.testing.assert_close(W @ W.T, torch.eye(len(W)), rtol=0, atol=1e-5)


@every_variant
def test_input_weights_fill_the_xavier_bound_of_one_gate(name: str) -> None:
    for key, weight in weights(name).items():
        if key == "weight" or key.startswith("weight_ih"):
            fan_in, fan_out = weight.shape[1], HIDDEN_SIZE
        elif key.lower().startswith("w_x"):
            fan_in, fan_out = INPUT_SIZE, weight.numel() // INPUT_SIZE
        else:
            continue
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert weight.abs().max() <= bound
        assert weight.abs().max() > (0.5 if name == "single-neuron" else 0.97) * bound


@every_variant
def test_biases_are_zero_but_for_an_lstms_forget_gate(name: str) -> None:
    biases = {key: value for key, value in weights(name).items() if key.startswith("b")}
    assert biases
    for key, bias in biases.items():
        expected = torch.zeros_like(bias)
        if name == "lstm" and key.startswith("bias_ih"):
            expected[HIDDEN_SIZE : 2 * HIDDEN_SIZE] = 1
        assert torch.equal(bias, expected), key
