"""The check that a hand-written net, nn.RNNCell in a loop and nn.RNN are one and the same function.

Shapes: B sequences, T steps, I inputs a step, H neurons.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.models.layers import Rnn
from rnnpipe.models.manual import Basic, CellLoop, SingleNeuron


@dataclass(frozen=True)
class Parity:
    """The largest absolute differences between two nets with the same weights, over the same inputs."""

    pair: tuple[str, str]
    output_difference: float
    gradient_difference: float


@torch.no_grad()
def copy_weights(basic: Basic, target: nn.RNNCell | nn.RNN) -> None:
    """Give a torch cell or one-layer nn.RNN the weights of a hand-written net.

    torch keeps weights transposed, and a second bias of which only the sum with the first matters: it becomes
    zero.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = target.parameters()
    weight_ih.copy_(basic.W_x.T)
    weight_hh.copy_(basic.W_y.T)
    bias_ih.copy_(basic.b)
    bias_hh.zero_()


@torch.no_grad()
def widen(neuron: SingleNeuron) -> Basic:
    """Return the hand-written net of one neuron that computes what `neuron` does."""
    config = VariantConfig(name="basic", hidden_size=1)
    basic = Basic(neuron.w_x.numel(), config).to(neuron.w_x.dtype)
    basic.W_x.copy_(neuron.w_x.unsqueeze(1))
    basic.W_y.copy_(neuron.w_y)
    basic.b.copy_(neuron.b)
    return basic


def as_cell_loop(basic: Basic) -> CellLoop:
    """Return nn.RNNCell in a loop, with the weights of `basic`."""
    input_size, hidden_size = basic.W_x.shape
    loop = CellLoop(input_size, VariantConfig(name="rnn-cell", hidden_size=hidden_size)).to(basic.b.dtype)
    copy_weights(basic, loop.cell)
    return loop


def as_rnn(basic: Basic) -> Rnn:
    """Return nn.RNN, with the weights of `basic`."""
    input_size, hidden_size = basic.W_x.shape
    rnn = Rnn(input_size, VariantConfig(name="image-rnn", hidden_size=hidden_size)).to(basic.b.dtype)
    copy_weights(basic, rnn.layers)
    return rnn


def gradients(encoder: nn.Module, x_BTI: Tensor) -> dict[str, Tensor]:
    """Return what the sum of the last states depends on, by role, in the hand-written nets' layout.

    x: (B, T, I); input_weight: (I, H); recurrent_weight: (H, H); bias: (H,), of torch's two biases the first.
    """
    x_BTI = x_BTI.detach().clone().requires_grad_()
    parameters = list(encoder.parameters())[:3]
    x, input_weight, recurrent_weight, bias = torch.autograd.grad(encoder(x_BTI).sum(), [x_BTI, *parameters])
    if isinstance(encoder, CellLoop | Rnn):
        input_weight, recurrent_weight = input_weight.T, recurrent_weight.T
    hidden_size = bias.numel()
    return {
        "x": x,
        "input_weight": input_weight.reshape(-1, hidden_size),
        "recurrent_weight": recurrent_weight.reshape(hidden_size, hidden_size),
        "bias": bias.reshape(hidden_size),
    }


def compare(encoders: Mapping[str, nn.Module], x_BTI: Tensor) -> tuple[Parity, ...]:
    """Compare every pair of nets: states after each step, and gradients of x and of every weight."""
    states, slopes = {}, {}
    for name, encoder in encoders.items():
        states[name] = torch.stack([encoder(x_BTI[:, : step + 1]) for step in range(x_BTI.shape[1])])
        slopes[name] = torch.cat([gradient.flatten() for gradient in gradients(encoder, x_BTI).values()])
    return tuple(
        Parity(
            (first, second),
            output_difference=(states[first] - states[second]).abs().max().item(),
            gradient_difference=(slopes[first] - slopes[second]).abs().max().item(),
        )
        for first, second in combinations(encoders, 2)
    )
