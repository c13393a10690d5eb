"""Recurrent layers whose gates look at the input alone, so that a scan computes all steps side by side.

Shapes: B sequences, T steps, I inputs a step, H neurons, C chunks of L steps.
Source: L. Feng, F. Tung, M. O. Ahmed, Y. Bengio, H. Hajimirsadeghi, “Were RNNs All We Needed?”, 2024.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from rnnpipe.config import VariantConfig
from rnnpipe.models.lengths import at_end


class MinimalLayer(nn.Module):
    """A layer h_t = keep_t * h_{t-1} + new_t, with h_0 = 0; keep and new are positive, and depend on x_t alone."""

    @abstractmethod
    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return keep and new, of shape (..., H), for inputs of shape (..., I)."""

    def step(self, x_BI: Tensor, h_BH: Tensor) -> Tensor:
        """Return the state after one more step: the definition, which the scan computes for all steps."""
        keep_BH, new_BH = self.terms(x_BI)
        return keep_BH * h_BH + new_BH

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the states after each step, of shape (B, T, H)."""
        products, states, before = _scan(*self.terms(x_BTI))
        before_BC1H = torch.stack(before[:-1], dim=1).unsqueeze(2)
        states_BCLH = torch.stack(states, dim=2) + torch.stack(products, dim=2) * before_BC1H
        return states_BCLH.flatten(1, 2)[:, : x_BTI.shape[1]]

    def last(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H)."""
        _, _, after = _scan(*self.terms(x_BTI))
        return after[-1]


class MinGruLayer(MinimalLayer):
    """keep_t = 1 - z_t and new_t = z_t * g(W_h x_t + b_h), with z_t = sigmoid(W_z x_t + b_z)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - z and z * g."""
        gate = self.gate(x)
        return torch.sigmoid(-gate), torch.sigmoid(gate) * _g(self.candidate(x))


class MinLstmLayer(MinimalLayer):
    """keep_t = f_t / (f_t + i_t), new_t = i_t / (f_t + i_t) * g(W_h x_t + b_h); f, i are sigmoid gates of x_t."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forget = nn.Linear(input_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two shares, which add up to one, the second times g."""
        lead = softplus(-self.forget(x)) - softplus(-self.input(x))  # log i - log f
        return torch.sigmoid(-lead), torch.sigmoid(lead) * _g(self.candidate(x))


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

    def forward(self, x_BTI: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the state after the last step, of `lengths_B` where these differ; of shape (B, H)."""
        for layer in self.layers[:-1]:
            x_BTI = self.dropout(layer(x_BTI))
        top = self.layers[-1]
        assert isinstance(top, MinimalLayer)
        return top.last(x_BTI) if lengths_B is None else at_end(top(x_BTI), lengths_B)


class MinGru(MinimalLayers):
    """minGRU."""

    layer = MinGruLayer


class MinLstm(MinimalLayers):
    """minLSTM."""

    layer = MinLstmLayer


def _scan(keep_BTH: Tensor, new_BTH: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return for each step of a chunk the products_BCH of keep, and the states_BCH as if all chunks began at zero.

    And the true states_BH before each chunk, and after the last: the state is state + product * before. The steps
    of a chunk follow each other, and then the chunks, but all chunks go side by side: of T steps, some 2 * sqrt(T)
    come one after the other. Steps that fill the last chunk keep what there is.
    Source: G. E. Blelloch, “Prefix sums and their applications”, 1990.
    """
    batch, steps, hidden = keep_BTH.shape
    length = math.isqrt(steps)
    missing = -steps % length
    wide = torch.promote_types(keep_BTH.dtype, torch.float32)  # bf16 has no room for sums over many steps
    keep_BTH = pad(keep_BTH.to(wide), (0, 0, 0, missing), value=1.0)
    new_BTH = pad(new_BTH.to(wide), (0, 0, 0, missing))
    shape = (batch, (steps + missing) // length, length, hidden)
    products, states = list[Tensor](), list[Tensor]()
    for keep_BCH, new_BCH in zip(keep_BTH.view(shape).unbind(2), new_BTH.view(shape).unbind(2), strict=True):
        products.append(products[-1] * keep_BCH if products else keep_BCH)
        states.append(keep_BCH * states[-1] + new_BCH if states else new_BCH)
    before = [torch.zeros_like(states[-1][:, 0])]
    for product_BH, state_BH in zip(products[-1].unbind(1), states[-1].unbind(1), strict=True):
        before.append(product_BH * before[-1] + state_BH)
    return products, states, before


def _g(x: Tensor) -> Tensor:
    """Return x + 0.5 where x >= 0, else sigmoid(x): positive, and monotone."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))
