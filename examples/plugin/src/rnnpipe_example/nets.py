"""A recurrent net: built with (input_size, config), it maps x_BTI to the state after the last step, h_BH."""

import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig


class MinimalGatedUnit(nn.Module):
    """f_t = sigmoid(W_f [h, x]); h_t = (1 - f_t) h + f_t tanh(W_h [f_t h, x]): one gate, with h_0 = 0."""

    def __init__(self, input_size: int, config: VariantConfig) -> None:
        super().__init__()
        self.output_size = config.hidden_size
        self.forget = nn.Linear(input_size + config.hidden_size, config.hidden_size)
        self.candidate = nn.Linear(input_size + config.hidden_size, config.hidden_size)

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the state after the last step, of shape (B, H)."""
        h_BH = x_BTI.new_zeros(x_BTI.shape[0], self.output_size)  # len() would fix the exported batch size
        for x_BI in x_BTI.unbind(1):
            forget_BH = torch.sigmoid(self.forget(torch.cat([h_BH, x_BI], dim=1)))
            candidate_BH = torch.tanh(self.candidate(torch.cat([forget_BH * h_BH, x_BI], dim=1)))
            h_BH = torch.lerp(h_BH, candidate_BH, forget_BH)
        return h_BH
