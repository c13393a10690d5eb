"""torch's recurrent layers as functions of weights that are given, as `torch.nn.functional` has for other layers.

Shapes: B sequences, T steps, I inputs a step, H neurons, L layers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

OPERATIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
    "GRU": torch.gru,
    "LSTM": torch.lstm,
}


def run_layers(
    layers: nn.RNNBase, x_BTI: Tensor, weights: Sequence[Tensor], num_layers: int
) -> tuple[Tensor, Tensor]:
    """Return the states of the last layer, (B, T, H), and of each layer after the last step, (L, B, H).

    The kind of `layers` says what is computed: in one direction, from states of zeros, without dropout, with the
    `weights` of `num_layers` layers in torch's order.
    """
    start_LBH = x_BTI.new_zeros(num_layers, x_BTI.shape[0], layers.hidden_size)
    start = [start_LBH, start_LBH] if layers.mode == "LSTM" else start_LBH
    options = (layers.bias, num_layers, 0.0, layers.training, False, True)
    states_BTH, last_LBH, *_ = OPERATIONS[layers.mode](x_BTI, start, weights, *options)
    return states_BTH, last_LBH
