"""Recurrent layers whose gates look at the input alone, so that all steps are computed at once by a scan.

Shapes: B sequences, T steps, I inputs a step, H neurons.
Source: L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, “Were RNNs All We Needed?”, 2024; the scan in
logarithms: F. A. Heinsen, “Efficient parallelization of a ubiquitous sequential computation”, 2023.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from rnnpipe.config import VariantConfig


class MinimalLayer(nn.Module):
    """A layer h_t = keep_t * h_{t-1} + new_t, with h_0 = 0; keep and new are positive, and depend on x_t alone."""

    @abstractmethod
    def log_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of keep and new, of shape (..., H), for inputs of shape (..., I)."""

    def step(self, x_BI: Tensor, h_BH: Tensor) -> Tensor:
        """Return the state after one more step: the definition, which the scan computes for all steps."""
        log_keep_BH, log_new_BH = self.log_terms(x_BI)
        return log_keep_BH.exp() * h_BH + log_new_BH.exp()

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the states after each step, of shape (B, T, H)."""
        log_keep_BTH, log_new_BTH = map(_wide, self.log_terms(x_BTI))
        kept_BTH = log_keep_BTH.cumsum(dim=1)
        return (kept_BTH + torch.logcumsumexp(log_new_BTH - kept_BTH, dim=1)).exp()

    def last(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H): a sum, no scan."""
        log_keep_BTH, log_new_BTH = map(_wide, self.log_terms(x_BTI))
        kept_BTH = log_keep_BTH.cumsum(dim=1)
        return torch.logsumexp(log_new_BTH + kept_BTH[:, -1:] - kept_BTH, dim=1).exp()


class MinGruLayer(MinimalLayer):
    """keep_t = 1 - z_t and new_t = z_t * g(W_h x_t + b_h), with z_t = sigmoid(W_z x_t + b_z)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def log_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log(1 - z) and log(z * g)."""
        gate = self.gate(x)
        return -softplus(gate), -softplus(-gate) + _log_g(self.candidate(x))


class MinLstmLayer(MinimalLayer):
    """keep_t = f_t / (f_t + i_t), new_t = i_t / (f_t + i_t) * g(W_h x_t + b_h); f, i are sigmoid gates of x_t."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forget = nn.Linear(input_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def log_terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of the two shares, which add up to one, the second with g."""
        lead = softplus(-self.forget(x)) - softplus(-self.input(x))  # log i - log f
        return -softplus(lead), -softplus(-lead) + _log_g(self.candidate(x))


class MinimalLayers(nn.Module):
    """Base of the encoders: layers on each other; the last state of the last one is what the head sees."""

    layer: type[MinGruLayer] | type[MinLstmLayer]

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__()
        sizes = [input_size, *[config.hidden_size] * config.num_layers]
        self.output_size = config.hidden_size
        self.layers = nn.ModuleList(map(self.layer, sizes, sizes[1:]))
        self.dropout = nn.Dropout(config.dropout)
        bound = config.hidden_size**-0.5  # as torch's recurrent layers start
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H)."""
        *lower, top = self.layers
        for layer in lower:
            x_BTI = self.dropout(layer(x_BTI))
        h_BH: Tensor = top.last(x_BTI)
        return h_BH


class MinGru(MinimalLayers):
    """minGRU."""

    layer = MinGruLayer


class MinLstm(MinimalLayers):
    """minLSTM."""

    layer = MinLstmLayer


def _wide(x: Tensor) -> Tensor:
    """Return bf16 as fp32: a sum over many steps has no room in it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _log_g(x: Tensor) -> Tensor:
    """Return the logarithm of g(x) = x + 0.5 where x >= 0, else sigmoid(x): positive, and monotone."""
    return torch.where(x >= 0, torch.log(x.clamp(min=0) + 0.5), -softplus(-x))
