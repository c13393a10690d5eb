"""torch's own recurrent layers on slices of a batch, each thread with its rows: for machines without a compiler.

torch shares out each step's small product among its threads, which wait for each other at each of them. A sequence
depends on no other, so a thread can take its rows through all layers and steps, and wait once.
Shapes: B sequences, T steps, I inputs a step, H neurons.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnpipe.models.functional import run_layers
from rnnpipe.models.kernels.passes import in_threads, keeps_and_weights, take_kept
from rnnpipe.runtime import num_threads


def sliced_state(layers: nn.RNNBase, x_BTI: Tensor) -> Tensor:
    """Return the last layer's last state, h_BH, of layers in one direction, without dropout."""
    keeps, *parameters = keeps_and_weights(layers)
    if num_threads() == 1:
        return _state(layers, x_BTI, parameters)
    state_BH: Tensor = _Sliced.apply(x_BTI, layers, keeps, *parameters)
    return state_BH


def _state(layers: nn.RNNBase, x_BTI: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return the last layer's last state: what the module calls, but with weights given, as threads share it."""
    _, last_LBH = run_layers(layers, x_BTI, parameters, layers.num_layers)
    return last_LBH[-1]


class _Sliced(torch.autograd.Function):
    """torch's layers as a function of their weights; each slice has a graph of its own."""

    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, layers: nn.RNNBase, keeps: bool, *parameters: Tensor) -> Tensor:
        threads = min(num_threads(), len(x_BTI))
        slices = x_BTI.tensor_split(threads)
        graphs: list[Any] = [None] * threads

        def work(number: int) -> None:
            with torch.set_grad_enabled(keeps):
                own = [parameter.detach().requires_grad_(keeps) for parameter in parameters]
                graphs[number] = (own, _state(layers, slices[number], own))

        in_threads(work, threads)
        ctx.kept, ctx.sizes = graphs if keeps else None, [len(each) for each in slices]
        return torch.cat([state_BH.detach() for _, state_BH in graphs])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_out_BH: Tensor) -> tuple[Tensor | None, ...]:
        graphs = take_kept(ctx)
        d_slices = torch.split(d_out_BH, ctx.sizes)
        found: list[Any] = [None] * len(graphs)

        def work(number: int) -> None:
            own, state_BH = graphs[number]
            with torch.enable_grad():
                found[number] = torch.autograd.grad(state_BH, own, d_slices[number])

        in_threads(work, len(graphs))
        sums = [sum(each[1:], start=each[0]) for each in zip(*found, strict=True)]
        return None, None, None, *sums
