"""Sequences of different lengths in one batch, so that what comes after the end of one changes nothing.

Shapes: B sequences, T steps (of the longest), I inputs a step, H neurons, D directions. After a sequence's end
values may be anything.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnpipe.models.functional import run_layers


def split_off_padding(x_BTI: Tensor) -> tuple[Tensor, Tensor]:
    """Return sequences with zeros for NaN, and how many steps each has, lengths_B: those before the first NaN.

    One without any step counts as one of zeros.
    """
    is_padding_BTI = x_BTI.isnan()
    lengths_B = (~is_padding_BTI[:, :, 0]).sum(dim=1).clamp(min=1)
    return x_BTI.masked_fill(is_padding_BTI, 0.0), lengths_B


def at_end(states_BTH: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the state after the last step of each sequence, of shape (B, H)."""
    last_B1H = (lengths_B - 1).view(-1, 1, 1).expand(-1, 1, states_BTH.shape[2])
    return states_BTH.gather(1, last_B1H).squeeze(1)


def turned_round(x_BTI: Tensor, lengths_B: Tensor) -> Tensor:
    """Return each sequence from its last step to its first; what comes after its end stays where it is."""
    step_T = torch.arange(x_BTI.shape[1], device=x_BTI.device)
    before_BT = lengths_B[:, None] - 1 - step_T
    place_BT = torch.where(before_BT >= 0, before_BT, step_T)
    return x_BTI.gather(1, place_BT.unsqueeze(2).expand(-1, -1, x_BTI.shape[2]))


def final_states(layers: nn.RNNBase, x_BTI: Tensor, lengths_B: Tensor) -> Tensor:
    """Return what torch's layers have after the last step of each sequence, (B, D * H), forward then backward.

    In one direction no state depends on what comes later, so the layers read everything. In two directions each
    layer is computed by itself, on the sequences and on the sequences turned round within their lengths.
    """
    if not layers.bidirectional:
        states_BTH, _ = layers(x_BTI)
        return at_end(states_BTH, lengths_B)
    for number in range(layers.num_layers):
        ahead, back = layers.all_weights[2 * number : 2 * number + 2]
        ahead_BTH, _ = run_layers(layers, x_BTI, ahead, 1)
        back_BTH, _ = run_layers(layers, turned_round(x_BTI, lengths_B), back, 1)
        if number == layers.num_layers - 1:
            return torch.cat([at_end(ahead_BTH, lengths_B), at_end(back_BTH, lengths_B)], dim=1)
        x_BTI = torch.cat([ahead_BTH, turned_round(back_BTH, lengths_B)], dim=2)
        x_BTI = functional.dropout(x_BTI, layers.dropout, layers.training)
    raise AssertionError("there is one layer at least")
