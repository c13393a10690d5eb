"""The plain recurrent nets of dair.ai's "RNNs with PyTorch", each with its equation written out.

Shapes: B sequences, T steps, I inputs a step, H neurons. The three classes share no code on purpose: each
is to be read by itself.
"""

import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig


class SingleNeuron(nn.Module):
    """One neuron: h_t = tanh(x_t · w_x + w_y h_{t-1} + b), with h_0 = 0.

    w_x has shape (I,); w_y and b are scalars. Source: dair.ai tutorial, SingleRNN.
    """

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__()
        self.output_size = 1
        self.w_x = nn.Parameter(torch.empty(input_size).uniform_(-1, 1))
        self.w_y = nn.Parameter(torch.empty(()).uniform_(-1, 1))
        self.b = nn.Parameter(torch.empty(()).uniform_(-1, 1))

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, 1)."""
        h_B = x_BTI.new_zeros(x_BTI.shape[0])
        for x_BI in x_BTI.unbind(1):
            h_B = torch.tanh(x_BI @ self.w_x + self.w_y * h_B + self.b)
        return h_B.unsqueeze(1)


class Basic(nn.Module):
    """H neurons: h_t = tanh(x_t W_x + h_{t-1} W_y + b), with h_0 = 0.

    W_x has shape (I, H), W_y (H, H) and b (H,). Source: dair.ai tutorial, BasicRNN.
    """

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        bound = config.hidden_size**-0.5
        self.W_x = nn.Parameter(torch.empty(input_size, config.hidden_size).uniform_(-bound, bound))
        self.W_y = nn.Parameter(torch.empty(config.hidden_size, config.hidden_size).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.empty(config.hidden_size).uniform_(-bound, bound))

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H)."""
        h_BH = x_BTI.new_zeros(x_BTI.shape[0], self.output_size)
        for x_BI in x_BTI.unbind(1):
            h_BH = torch.tanh(x_BI @ self.W_x + h_BH @ self.W_y + self.b)
        return h_BH


class CellLoop(nn.Module):
    """nn.RNNCell, called once a step: h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu.

    Source: dair.ai tutorial, CleanBasicRNN.
    """

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.cell = nn.RNNCell(input_size, config.hidden_size, nonlinearity=config.nonlinearity)

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H)."""
        h_BH = x_BTI.new_zeros(x_BTI.shape[0], self.output_size)
        for x_BI in x_BTI.unbind(1):
            h_BH = self.cell(x_BI, h_BH)
        return h_BH
