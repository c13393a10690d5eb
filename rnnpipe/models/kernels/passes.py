"""Compiled kernels under torch's recurrent layers: the same weights, the same function, the same gradients.

Shapes: B sequences, T steps, I inputs a step, H neurons. The rows of a batch are cut into slices; each thread
takes its slices through all layers and steps by itself (recurrent.c). Outputs don't depend on the number of
threads; gradients are summed in one order for each number, so that they are the same bits in every run.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rnnpipe.models.kernels.library import Shape, addresses, load_library
from rnnpipe.runtime import num_threads

KINDS: dict[str, int] = {"RNN_TANH": 0, "RNN_RELU": 1, "GRU": 2, "LSTM": 3}
ROWS = 64  # of a slice, at most: what a step works on stays in a core's cache
MAX_KEPT = 1 << 25  # numbers (128 MiB) of memory that is kept, besides that of the newest batch

_free: dict[int, list[Tensor]] = {}  # memory to use again, by size: fresh pages would cost a sixth of the time


@dataclass
class Slice:
    """Some rows of a batch on their way: their shape, and what the backward pass needs of them."""

    rows: slice
    shape: Shape
    memory: Tensor


def final_state(layers: nn.RNNBase, x_BTI: Tensor) -> Tensor:
    """Return the last layer's state after the last step, h_BH, of layers in one direction and without dropout.

    ValueError where x_BTI is empty, isn't float32, or doesn't fit the layers: the kernels only know addresses.
    """
    if x_BTI.dtype != torch.float32 or x_BTI.shape[2] != layers.input_size or not x_BTI.numel():
        raise ValueError(f"{x_BTI.dtype} {tuple(x_BTI.shape)} can't be read by {layers}")
    state_BH: Tensor = _FinalState.apply(x_BTI, layers, *keeps_and_weights(layers))
    return state_BH


def keeps_and_weights(layers: nn.RNNBase) -> tuple[Any, ...]:
    """Return whether gradients will be asked for (within a function torch no longer tells) and the weights."""
    parameters = [parameter for weights in layers.all_weights for parameter in weights]
    return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters), *parameters


def take_kept(ctx: Any) -> Any:
    """Return what a forward pass kept in `ctx.kept` for its backward pass; RuntimeError the second time."""
    kept, ctx.kept = ctx.kept, None
    if kept is None:
        raise RuntimeError("these gradients were computed before; what they need is gone")
    return kept


class _FinalState(torch.autograd.Function):
    """The kernels as one function of the layers' weights that can be differentiated once."""

    @staticmethod
    def forward(ctx: Any, x_BTI: Tensor, layers: nn.RNNBase, keeps: bool, *parameters: Tensor) -> Tensor:
        library = load_library()
        x_BTI = x_BTI if x_BTI.stride(2) == 1 else x_BTI.contiguous()
        groups = _slices(x_BTI, layers, keeps)
        shape = groups[0][0].shape
        packed = _memory(library.weights_size(byref(shape)))
        library.pack(byref(shape), addresses(parameters, layers.bias), packed.data_ptr())
        out_BH = x_BTI.new_empty(len(x_BTI), layers.hidden_size)

        def work(number: int) -> None:
            for each in groups[number]:
                rows_BTI, memory, out = x_BTI[each.rows], each.memory.data_ptr(), out_BH[each.rows].data_ptr()
                strides = rows_BTI.stride()[:2]
                library.forward(byref(each.shape), packed.data_ptr(), rows_BTI.data_ptr(), *strides, memory, out)

        in_threads(work, len(groups))
        if keeps:
            ctx.kept, ctx.packed, ctx.with_bias = groups, packed, layers.bias
            ctx.save_for_backward(*parameters)  # torch notices where one was changed meanwhile
        else:
            _give_back([packed, *{id(each.memory): each.memory for group in groups for each in group}.values()])
        return out_BH

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_out_BH: Tensor) -> tuple[Tensor | None, ...]:
        library, packed, parameters = load_library(), ctx.packed, ctx.saved_tensors
        groups = take_kept(ctx)
        shape, d_out_BH = groups[0][0].shape, d_out_BH.contiguous()
        size = library.gradients_size(byref(shape))
        gradients = _memory(len(groups) * size).zero_()

        def work(number: int) -> None:
            for each in groups[number]:
                library.backward(
                    byref(each.shape), packed.data_ptr(), d_out_BH[each.rows].data_ptr(), each.memory.data_ptr(),
                    gradients[number * size :].data_ptr(),
                )  # fmt: skip

        in_threads(work, len(groups))
        found = [torch.empty_like(parameter, memory_format=torch.contiguous_format) for parameter in parameters]
        library.unpack(byref(shape), len(groups), gradients.data_ptr(), addresses(found, ctx.with_bias))
        _give_back([gradients, packed, *(each.memory for group in groups for each in group)])
        return None, None, None, *found


def _slices(x_BTI: Tensor, layers: nn.RNNBase, keeps: bool) -> list[list[Slice]]:
    """Return the slices of each thread, with memory."""
    total, steps, inputs = x_BTI.shape
    threads = min(num_threads(), total)
    each = -(-total // (threads * ROWS))
    groups: list[list[Slice]] = [[] for _ in range(threads)]
    for number in range(threads * each):
        rows = slice(*(total * place // (threads * each) for place in (number, number + 1)))
        sizes = (layers.num_layers, rows.stop - rows.start, steps, inputs, layers.hidden_size)
        shape, group = Shape(KINDS[layers.mode], *sizes, keeps), groups[number // each]
        size = load_library().memory_size(byref(shape))
        used = None if keeps or not group else group[0].memory  # it is in the cache already
        memory = used if used is not None and len(used) >= size else _memory(size)
        group.append(Slice(rows, shape, memory))
    return groups


def _memory(size: int) -> Tensor:
    """Return memory for so many float32, used before if possible; what stands there is anything."""
    try:
        return _free[size].pop()
    except (KeyError, IndexError):
        with torch.inference_mode(False):  # it may serve a training next
            return torch.empty(size)


def _give_back(memories: Iterable[Tensor]) -> None:
    """Keep memory for the next batch of its size; where too much came together, only this."""
    if sum(size * len(kept) for size, kept in _free.items()) > MAX_KEPT:
        _free.clear()
    for memory in memories:
        _free.setdefault(len(memory), []).append(memory)


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Call work(0) here and work(1) to work(count - 1) each in a thread of the pool, at the same time."""
    pending = [_pool().submit(work, number) for number in range(1, count)]
    work(0)
    for each in pending:
        each.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1024, "kernels", initializer=_begin_thread)  # it starts as many as are busy


def _begin_thread() -> None:
    """Make a thread like the pool's others, any of which may take any rows: both hold for the thread alone."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(1)  # else torch's own products within it have other bits, until it is first told


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads don't live on in a child
