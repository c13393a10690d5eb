"""torch's plain recurrent layers, two operations a step: for machines without a compiler.

What torch records of each step for its own backward pass takes longer than a small net's products. So both passes
are written out here, and what doesn't wait for the step before is one product for all steps: the inputs' share
before the steps, the weights' gradients after them.
Shapes: B sequences, T steps, I inputs a step, H neurons.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnpipe.models.kernels.passes import keeps_and_weights, take_kept


def plain_state(layers: nn.RNNBase, x_BTI: Tensor) -> Tensor:
    """Return the last layer's last state, h_BH, of plain layers in one direction, without dropout.

    Source of the backward pass: P. J. Werbos, “Backpropagation through time: what it does and how to do it”, 1990.
    """
    state_BH: Tensor = _Plain.apply(x_BTI, layers, *keeps_and_weights(layers))
    return state_BH


class _Plain(torch.autograd.Function):
    """The layers as one function of their weights that can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, layers: nn.RNNBase, keeps: bool, *parameters: Tensor) -> Tensor:
        inputs_TBI, relu, kept = x_BTI.transpose(0, 1).contiguous(), layers.mode == "RNN_RELU", []
        for weights in _by_layer(parameters, layers):
            h_TBH = _states(inputs_TBI, weights, relu)
            kept.append((inputs_TBI, h_TBH))
            inputs_TBI = h_TBH
        if keeps:
            ctx.kept, ctx.layers, ctx.relu = kept, layers, relu
            ctx.save_for_backward(*parameters)  # torch notices where one was changed meanwhile
        return inputs_TBI[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_out_BH: Tensor) -> tuple[Tensor | None, ...]:
        kept = take_kept(ctx)
        d_states: Sequence[Tensor] = [d_out_BH]  # a step's each; the last layer's only of its last step
        found: list[Tensor] = []
        for weights in reversed(_by_layer(ctx.saved_tensors, ctx.layers)):
            inputs_TBI, h_TBH = kept.pop()
            d_TBH = _back_through_steps(h_TBH, weights[1], d_states, ctx.relu)
            d_NH, later_NH, earlier_NH = (each.flatten(0, 1) for each in (d_TBH, d_TBH[1:], h_TBH[:-1]))
            d_bias = [d_NH.sum(0) for _ in weights[2:]]  # one each: what clips gradients scales them in place
            found = [d_NH.t() @ inputs_TBI.flatten(0, 1), later_NH.t() @ earlier_NH, *d_bias, *found]
            if kept:
                d_states = (d_TBH @ weights[0]).unbind()
        return None, None, None, *found


def _by_layer(parameters: Sequence[Tensor], layers: nn.RNNBase) -> list[Sequence[Tensor]]:
    """Return each layer's weights: of its inputs, (H, I), of its states, (H, H), and two biases if it has them."""
    count = len(parameters) // layers.num_layers
    return [parameters[first : first + count] for first in range(0, len(parameters), count)]


def _states(inputs_TBI: Tensor, weights: Sequence[Tensor], relu: bool) -> Tensor:
    """Return a layer's states, h_TBH."""
    h_TBH = linear(inputs_TBI, weights[0], weights[2] + weights[3] if len(weights) > 2 else None)
    turned_HH, before_BH = weights[1].t(), None
    for h_BH in h_TBH.unbind():
        if before_BH is not None:
            h_BH.addmm_(before_BH, turned_HH)
        before_BH = h_BH.relu_() if relu else h_BH.tanh_()
    return h_TBH


def _back_through_steps(h_TBH: Tensor, w_HH: Tensor, d_states: Sequence[Tensor], relu: bool) -> Tensor:
    """Return the gradients before the non-linearity, d_TBH.

    `d_states` are the gradients that come from above: of the state after each step, or after the last one alone.
    """
    d_TBH, d_h_BH = torch.empty_like(h_TBH), d_states[-1]
    h, d = h_TBH.unbind(), d_TBH.unbind()
    for step in reversed(range(len(h))):
        if relu:
            torch.ops.aten.threshold_backward.grad_input(d_h_BH, h[step], 0, grad_input=d[step])
        else:
            torch.ops.aten.tanh_backward.grad_input(d_h_BH, h[step], grad_input=d[step])
        if step and len(d_states) == len(h):
            d_h_BH = torch.addmm(d_states[step - 1], d[step], w_HH)
        elif step:
            d_h_BH = d[step] @ w_HH
    return d_TBH
