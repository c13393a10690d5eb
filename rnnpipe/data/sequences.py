"""How an image is read as a sequence: modules from images (N, H, W) to (N, T steps, I features).

They are made of torch operations that keep the pixel type, so the same module prepares uint8 arrays for the
store and stands at the head of an exported model. Each pixel appears exactly once: T * I = H * W.
Images in colour (N, H, W, 3) are read three planes at once (InColour).
"""

import torch
from torch import Tensor, nn

from rnnpipe.catalogue import SEQUENCES
from rnnpipe.config.sections import SequenceConfig
from rnnpipe.errors import ConfigError
from rnnpipe.plugins import call_code

ImageSize = tuple[int, int]


class SequenceTransform(nn.Module):
    """Base of the transforms: calling one maps images_NHW of any dtype to x_NTI of the same."""

    def __init__(self, steps: int, features: int) -> None:
        super().__init__()
        self.steps = steps
        self.features = features


class Rows(SequenceTransform):
    """One image row a step, top to bottom: T = H, I = W."""

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        super().__init__(steps=height, features=width)

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return the images as they are: a row is a step already."""
        return images_NHW


class Columns(SequenceTransform):
    """One image column a step, left to right: T = W, I = H."""

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        super().__init__(steps=width, features=height)

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return x_NTI with T along the image's width."""
        return images_NHW.transpose(1, 2)


class Pixels(SequenceTransform):
    """One pixel a step, in reading order: T = H * W, I = 1."""

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        super().__init__(steps=height * width, features=1)

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return x_NTI, row after row."""
        return images_NHW.flatten(1).unsqueeze(2)


class Permuted(SequenceTransform):
    """One pixel a step, in a random order that the seed fixes: T = H * W, I = 1.

    Source: Q. V. Le, N. Jaitly, G. E. Hinton, “A Simple Way to Initialize Recurrent Networks of Rectified
    Linear Units”, 2015 (permuted pixel-by-pixel MNIST).
    """

    order_T: Tensor

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        super().__init__(steps=height * width, features=1)
        generator = torch.Generator().manual_seed(config.permutation_seed)
        order_T = torch.randperm(self.steps, generator=generator)
        self.register_buffer("order_T", order_T, persistent=False)

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return x_NTI; step t holds pixel order_T[t]."""
        return images_NHW.flatten(1).index_select(1, self.order_T).unsqueeze(2)


class Patches(SequenceTransform):
    """One square patch of side P a step, in reading order: T = H/P * W/P, I = P * P.

    ConfigError where P doesn't divide both sides of the image.
    """

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        height, width = image_size
        side = config.patch_size
        if height % side or width % side:
            valid = [n for n in range(1, min(image_size) + 1) if height % n == 0 and width % n == 0]
            raise ConfigError(
                f"sequence.patch_size {side}: doesn't divide images of {height} x {width} pixels",
                f"set sequence.patch_size to one of {', '.join(map(str, valid))}",
            )
        super().__init__(steps=(height // side) * (width // side), features=side * side)
        self.grid = (height // side, width // side)
        self.side = side

    def forward(self, images_NHW: Tensor) -> Tensor:
        """Return x_NTI; a step holds its patch row after row."""
        down, across = self.grid
        blocks = images_NHW.reshape(images_NHW.shape[0], down, self.side, across, self.side)
        return blocks.transpose(2, 3).flatten(3).flatten(1, 2)


class AsIs(SequenceTransform):
    """Series (N, T, I) are sequences already; what is padding in them is NaN."""

    def __init__(self, image_size: ImageSize, config: SequenceConfig) -> None:
        steps, features = image_size
        super().__init__(steps=steps, features=features)

    def forward(self, x_NTI: Tensor) -> Tensor:
        """Return the series as they are."""
        return x_NTI


class InColour(SequenceTransform):
    """Any of the transforms for images in colour: a step has red, green and blue of each pixel, three times I."""

    def __init__(self, transform: SequenceTransform, channels: int) -> None:
        super().__init__(transform.steps, channels * transform.features)
        self.transform = transform

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """Return x_NTI of images (N, H, W, channels)."""
        return torch.stack([self.transform(images_NHW) for images_NHW in images_NHWC.unbind(3)], dim=3).flatten(2)


def build_transform(image_size: ImageSize, config: SequenceConfig, channels: int = 1) -> SequenceTransform:
    """Return the transform a config names, for images of `image_size` (height, width) with so many channels."""
    named = f"sequence.name {config.name}"
    transform: SequenceTransform = call_code(SEQUENCES[config.name], named, image_size, config)
    return transform if channels == 1 else InColour(transform, channels)
