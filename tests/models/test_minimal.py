"""minGRU and minLSTM: the scan over all steps is the step form, one step after the other."""

import pytest
import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.models.minimal import MinGru, MinGruLayer, MinimalLayer, MinLstm, MinLstmLayer

B, INPUTS, H = 4, 3, 5
LAYERS = (MinGruLayer, MinLstmLayer)


def inputs(steps: int, scale: float = 3.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return scale * torch.randn(B, steps, INPUTS, dtype=dtype, generator=generator)


def in_a_loop(layer: MinimalLayer, x_BTI: Tensor) -> Tensor:
    """Return the states after each step, (B, T, H)."""
    h_BH, states = x_BTI.new_zeros(len(x_BTI), H), []
    for x_BI in x_BTI.unbind(1):
        h_BH = layer.step(x_BI, h_BH)
        states.append(h_BH)
    return torch.stack(states, dim=1)


@pytest.mark.parametrize("steps", [1, 2, 28, 784])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_scan_is_the_step_form_in_outputs_and_gradients(kind: type[nn.Module], steps: int) -> None:
    layer = kind(INPUTS, H).double()
    x_BTI = inputs(steps).requires_grad_()
    weight_BTH = torch.randn(B, steps, H, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = []
    for states_BTH in (layer(x_BTI), in_a_loop(layer, x_BTI)):
        gradients = torch.autograd.grad((states_BTH * weight_BTH).sum(), [x_BTI, *layer.parameters()])
        found.append((states_BTH, *gradients))
    for by_scan, by_steps in zip(*found, strict=True):
        torch.testing.assert_close(by_scan, by_steps, rtol=1e-8, atol=1e-7)
    torch.testing.assert_close(layer.last(x_BTI), found[0][0][:, -1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_the_equation_of_the_paper(kind: type[nn.Module]) -> None:
    layer, x_BI, h_BH = kind(INPUTS, H).double(), inputs(1)[:, 0], torch.rand(B, H, dtype=torch.float64)
    pre_BH = layer.candidate(x_BI)
    g_BH = torch.where(pre_BH >= 0, pre_BH + 0.5, torch.sigmoid(pre_BH))
    if kind is MinGruLayer:
        z_BH = torch.sigmoid(layer.gate(x_BI))
        expected = (1 - z_BH) * h_BH + z_BH * g_BH
    else:
        forget_BH, input_BH = torch.sigmoid(layer.forget(x_BI)), torch.sigmoid(layer.input(x_BI))
        expected = (forget_BH * h_BH + input_BH * g_BH) / (forget_BH + input_BH)
    torch.testing.assert_close(layer.step(x_BI, h_BH), expected)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_long_sequences_stay_finite_in_single_precision(kind: type[nn.Module], scale: float) -> None:
    layer, x_BTI = kind(INPUTS, H), inputs(2000, scale, torch.float32).requires_grad_()
    states_BTH = layer(x_BTI)
    gradients = torch.autograd.grad(states_BTH.sum(), [x_BTI, *layer.parameters()])
    assert all(each.isfinite().all() for each in (states_BTH, *gradients))
    expected = in_a_loop(layer.double(), x_BTI.double())
    torch.testing.assert_close(states_BTH.double(), expected, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("kind", [MinGru, MinLstm])
def test_layers_stand_on_each_other(kind: type[nn.Module]) -> None:
    name = "min-gru" if kind is MinGru else "min-lstm"
    net, x_BTI = kind(INPUTS, VariantConfig(name=name, hidden_size=H, num_layers=2)).double(), inputs(9)
    states_BTH = in_a_loop(net.layers[1], in_a_loop(net.layers[0], x_BTI))
    torch.testing.assert_close(net(x_BTI), states_BTH[:, -1])
