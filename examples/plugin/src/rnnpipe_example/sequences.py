"""A transform: maps images_NHW to x_NTI in torch operations, for any element type."""

from torch import Tensor

from rnnpipe.config import SequenceConfig
from rnnpipe.data.sequences import ImageSize, SequenceTransform


class Zigzag(SequenceTransform):
    """One image row a step, every other one from right to left: what is near in time is near in the image."""

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        super().__init__(steps=height, features=width)

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return x_NTI."""
        x_NTI = images_NHW.clone()
        x_NTI[:, 1::2] = images_NHW[:, 1::2].flip(2)
        return x_NTI
