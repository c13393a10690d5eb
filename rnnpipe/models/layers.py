"""Encoders on torch's own recurrent layers; each returns the last layer's state after the last step.

Shapes: B sequences, T steps, I inputs a step, H neurons, L layers, D directions (2 if bidirectional).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.models.lengths import final_states

Compute = Callable[[nn.RNNBase, Tensor], Tensor]


class Layers(nn.Module):
    """Base of the encoders: torch's layers, and what computes them instead, if anything (kernels/)."""

    layers: nn.RNNBase
    compute: Compute | None = None

    def __init__(self, config: VariantConfig) -> None:
        super().__init__()
        self.output_size = _output_size(config)
        self.truncated_steps = config.truncated_steps

    def forward(self, x_BTI: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the final hidden state (not an LSTM's cell state), of shape (B, D * H), after `lengths_B` steps.

        In training, gradients reach the last `truncated_steps` only, where there is such a number. Source:
        R. J. Williams, J. Peng, “An efficient gradient-based algorithm for on-line training …”, 1990.
        """
        if lengths_B is not None:
            return final_states(self.layers, x_BTI, lengths_B)
        if self.compute is not None and not x_BTI.requires_grad:
            return self.compute(self.layers, x_BTI)
        state = None
        if self.training and self.truncated_steps and self.truncated_steps < x_BTI.shape[1]:
            with torch.no_grad():
                _, state = self.layers(x_BTI[:, : -self.truncated_steps])
            x_BTI = x_BTI[:, -self.truncated_steps :]
        _, last = self.layers(x_BTI, state)
        h_LBH = last[0] if isinstance(last, tuple) else last
        return _last_layer(h_LBH, self.layers.bidirectional)


class Rnn(Layers):
    """nn.RNN. Sources: dair.ai tutorial, ImageRNN (one layer); P. Loeber's tutorial (two)."""

    layers: nn.RNN

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__(config)
        self.layers = nn.RNN(input_size, nonlinearity=config.nonlinearity, **_layer_options(config))


class Gru(Layers):
    """nn.GRU. Source: P. Loeber's tutorial."""

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__(config)
        self.layers = nn.GRU(input_size, **_layer_options(config))


class Lstm(Layers):
    """nn.LSTM. Source: P. Loeber's tutorial."""

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__(config)
        self.layers = nn.LSTM(input_size, **_layer_options(config))


@contextmanager
def export_of_layers() -> Iterator[None]:
    """Wrap torch.export of these encoders: drops the one warning that torch has for its own layers.

    While tracing, torch swaps the list in which its layers keep their weights and restores it afterwards;
    the warning tells of that. Source: pytorch/pytorch pull request 163809.
    """
    with warnings.catch_warnings():
        message = r"The tensor attributes self\.\S*_flat_weights\[0\], .* were assigned during export"
        warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _layer_options(config: VariantConfig) -> dict[str, Any]:
    names = ("hidden_size", "num_layers", "bidirectional", "dropout")
    return {name: getattr(config, name) for name in names} | {"batch_first": True}


def _output_size(config: VariantConfig) -> int:
    return config.hidden_size * (2 if config.bidirectional else 1)


def _last_layer(h_LBH: Tensor, bidirectional: bool) -> Tensor:
    """Return the last layer's final states, forward then backward: (L * D, B, H) -> (B, D * H)."""
    return torch.cat([h_LBH[-2], h_LBH[-1]], dim=1) if bidirectional else h_LBH[-1]
