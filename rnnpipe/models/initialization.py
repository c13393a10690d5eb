"""How weights start: seeded without touching the global random state, and by choice orthogonal."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Gates that torch stacks in one weight matrix, each with as many rows as there are neurons.
NUM_GATES: dict[type[nn.Module], int] = {nn.LSTM: 4, nn.GRU: 3}


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Draw weights from this seed alone, and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also seed the GPUs, which fork_rng doesn't restore here.
        torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def initialize_orthogonal(encoder: nn.Module) -> None:
    """Make recurrent weights orthogonal, input weights Xavier-uniform, both gate by gate, and biases zero.

    An LSTM's forget gate starts with a bias of one in total, in bias_ih, so that it keeps its memory.
    Sources: Saxe et al. 2014 (orthogonal), Glorot and Bengio 2010 (Xavier), Jozefowicz et al. 2015 (forget).
    """
    for module in encoder.modules():
        num_gates = NUM_GATES.get(type(module), 1)
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("b"):
                parameter.zero_()
            for gate in _gates(parameter, num_gates):
                if name.startswith(("weight_hh", "W_y", "w_y")):
                    nn.init.orthogonal_(gate)
                elif name.startswith(("weight_ih", "W_x", "w_x")) or name == "weight":  # of nn.Linear
                    nn.init.xavier_uniform_(gate)
            if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):
                parameter[module.hidden_size : 2 * module.hidden_size] = 1  # gates: input, forget, cell, output


def _gates(parameter: Tensor, num_gates: int) -> tuple[Tensor, ...]:
    """Return views of one matrix a gate; a single neuron's vector or scalar is a matrix of one column."""
    matrix = parameter if parameter.dim() == 2 else parameter.view(-1, 1)
    return matrix.chunk(num_gates)
