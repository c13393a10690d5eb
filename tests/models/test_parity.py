"""One neuron, n neurons by hand, nn.RNNCell in a loop and nn.RNN: the same outputs and the same gradients."""

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.models.initialization import seeded_weights
from rnnpipe.models.manual import Basic, CellLoop, SingleNeuron
from rnnpipe.models.parity import as_cell_loop, as_rnn, compare, copy_weights, widen

SIZES = [(1, 1, 1), (4, 3, 5), (7, 28, 64)]  # sequences, inputs, neurons
sized = pytest.mark.parametrize("sizes", SIZES, ids=str)
stepped = pytest.mark.parametrize("num_steps", [1, 2, 28])


def inputs(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make_basic(input_size: int, hidden_size: int) -> Basic:
    with seeded_weights(0):
        return Basic(input_size, VariantConfig(name="basic", hidden_size=hidden_size)).double()


def slopes(encoder: nn.Module, x_BTI: Tensor, weights_BH: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return states, and gradients of a weighted sum of them."""
    x_BTI = x_BTI.clone().requires_grad_()
    h_BH = encoder(x_BTI)
    named = {name.split(".")[-1].removesuffix("_l0"): p for name, p in encoder.named_parameters()}
    grads = torch.autograd.grad((h_BH * weights_BH).sum(), [x_BTI, *named.values()])
    return h_BH.detach(), dict(zip(["x", *named], grads, strict=True))


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@sized
@stepped
def test_basic_is_its_equation(sizes: tuple[int, int, int], num_steps: int) -> None:
    batch_size, input_size, hidden_size = sizes
    basic, x_BTI = make_basic(input_size, hidden_size), inputs(batch_size, num_steps, input_size)
    W_x, W_y, b = (parameter.detach().numpy() for parameter in (basic.W_x, basic.W_y, basic.b))
    h_BH = np.zeros((batch_size, hidden_size))
    for step in range(num_steps):
        h_BH = np.tanh(x_BTI.numpy()[:, step] @ W_x + h_BH @ W_y + b)
    assert_same(basic(x_BTI).detach(), torch.from_numpy(h_BH))


@sized
@stepped
def test_basic_is_the_cell_loop_is_nn_rnn(sizes: tuple[int, int, int], num_steps: int) -> None:
    batch_size, input_size, hidden_size = sizes
    basic, x_BTI = make_basic(input_size, hidden_size), inputs(batch_size, num_steps, input_size)
    weights_BH = inputs(batch_size, hidden_size)
    h_BH, mine = slopes(basic, x_BTI, weights_BH)
    for other in (as_cell_loop(basic), as_rnn(basic)):
        other_h_BH, theirs = slopes(other, x_BTI, weights_BH)
        assert_same(other_h_BH, h_BH)
        assert_same(theirs["x"], mine["x"])
        assert_same(theirs["weight_ih"].T, mine["W_x"])
        assert_same(theirs["weight_hh"].T, mine["W_y"])
        assert_same(theirs["bias_ih"], mine["b"])
        assert_same(theirs["bias_hh"], mine["b"])


@sized
@stepped
def test_one_neuron_is_basic_with_one(sizes: tuple[int, int, int], num_steps: int) -> None:
    batch_size, input_size, _ = sizes
    with seeded_weights(0):
        neuron = SingleNeuron(input_size, VariantConfig(name="single-neuron")).double()
    x_BTI, weights_B1 = inputs(batch_size, num_steps, input_size), inputs(batch_size, 1)
    h_B1, mine = slopes(neuron, x_BTI, weights_B1)
    basic_h_B1, theirs = slopes(widen(neuron), x_BTI, weights_B1)
    assert_same(h_B1, basic_h_B1)
    assert_same(mine["x"], theirs["x"])
    assert_same(mine["w_x"], theirs["W_x"].squeeze(1))
    assert_same(mine["w_y"], theirs["W_y"].squeeze())
    assert_same(mine["b"], theirs["b"].squeeze())


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_the_cell_loop_takes_both_biases_and_both_nonlinearities(
    nonlinearity: Literal["tanh", "relu"],
) -> None:
    config = VariantConfig(name="rnn-cell", hidden_size=5, nonlinearity=nonlinearity)
    loop = CellLoop(3, config).double()
    rnn = nn.RNN(3, 5, nonlinearity=nonlinearity, batch_first=True).double()
    rnn.load_state_dict({f"{name}_l0": value for name, value in loop.cell.state_dict().items()})
    x_BTI = inputs(4, 28, 3)
    assert_same(loop(x_BTI).detach(), rnn(x_BTI)[1][0].detach())


def test_compare_finds_a_weight_that_differs() -> None:
    basic, x_BTI = make_basic(3, 5), inputs(4, 2, 3)
    rnn = as_rnn(basic)
    (same,) = compare({"basic": basic, "rnn": rnn}, x_BTI)
    with torch.no_grad():
        rnn.get_parameter("layers.weight_hh_l0")[2, 3] += 1e-6  # acts from the second step on
    (different,) = compare({"basic": basic, "rnn": rnn}, x_BTI)
    assert max(same.output_difference, same.gradient_difference) < 1e-12
    assert min(different.output_difference, different.gradient_difference) > 1e-9


def test_copied_weights_replace_all_that_was_there() -> None:
    basic, cell = make_basic(3, 5), nn.RNNCell(3, 5).double()
    copy_weights(basic, cell)
    assert torch.equal(cell.weight_ih, basic.W_x.T)
    assert torch.equal(cell.weight_hh, basic.W_y.T)
    assert torch.equal(cell.bias_ih, basic.b)
    assert not cell.bias_hh.any()
