"""Training images shifted, turned and zoomed at random, a batch at a time.

What is drawn is a function of seed, epoch and step, and is drawn on the CPU: a resumed training meets the same
images, on any device. torch's own generator isn't asked, so dropout's noise is the same with and without.
"""

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from rnnpipe.errors import ConfigError
from rnnpipe.evaluation.order import pixel_order
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.training.setting import Setting, mix_seed

STREAM = 1  # tells these seeds from those of dropout, which have no fourth part


class Augmentation:
    """Draws and makes the changes that a config asks for, in sequences of any transform that orders pixels."""

    def __init__(self, setting: Setting) -> None:
        """Raise ConfigError where a shift is larger than images, or the transform does more than order pixels."""
        self.config, self.seed = setting.config, setting.seed
        self.image_shape = setting.spec.shape
        height, width = self.image_shape[:2]
        if (most := self.config.shift_pixels) >= min(height, width):
            raise ConfigError(
                f"training.shift_pixels {most}: shifts images of {height} x {width} pixels out of sight",
                f"set training.shift_pixels to {min(height, width) - 1} or less",
            )
        order_P = order_of_pixels(setting.spec).to(setting.device)
        self.order_P, self.place_P = order_P, order_P.argsort()
        self.is_in_reading_order = torch.equal(order_P.cpu(), torch.arange(len(order_P)))

    @classmethod
    def of(cls, setting: Setting) -> Self | None:
        """Return the augmentation of a setting; None where its config asks for none."""
        config = setting.config
        return cls(setting) if config.shift_pixels or config.rotation_degrees or config.zoom_fraction else None

    def __call__(self, pixels_BTI: Tensor, epoch: int, step: int) -> Tensor:
        """Return the sequences of a batch with their images changed: pixel values 0..255, uint8 or float32."""
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, step, STREAM))
        config, batch = self.config, len(pixels_BTI)
        planes = planes_of(self._reordered(pixels_BTI, self.place_P).view(batch, *self.image_shape))
        each = len(planes) // batch  # planes of an image, which are changed alike
        if most := config.shift_pixels:
            offsets_B2 = torch.randint(-most, most + 1, (batch, 2), generator=generator)
            planes = shifted(planes, offsets_B2.repeat_interleave(each, dim=0), most)
        if config.rotation_degrees or config.zoom_fraction:
            angles_B, growth_B = 2 * torch.rand((2, batch), generator=generator) - 1
            angles_B = angles_B * math.radians(config.rotation_degrees)
            factors_B = 1 + growth_B * config.zoom_fraction
            planes = turned(planes, *(drawn.repeat_interleave(each) for drawn in (angles_B, factors_B)))
        if each > 1:
            planes = planes.view(batch, each, *planes.shape[1:]).movedim(1, 3)
        return self._reordered(planes, self.order_P).view_as(pixels_BTI)

    def _reordered(self, pixels_BXX: Tensor, places_P: Tensor) -> Tensor:
        pixels_BP = pixels_BXX.flatten(1)
        if self.is_in_reading_order:
            return pixels_BP
        return pixels_BP.gather(1, places_P.expand(len(pixels_BP), -1))


def planes_of(images: Tensor) -> Tensor:
    """Return images (B, H, W) as they are; of those in colour (B, H, W, 3) all planes, (B * 3, H, W)."""
    return images if images.ndim == 3 else images.movedim(3, 1).flatten(0, 1)


def order_of_pixels(spec: ModelSpec) -> Tensor:
    """Return `pixel_order`; ConfigError where there is none."""
    order_P = pixel_order(spec)
    if order_P is None:
        raise ConfigError(
            f"sequence.name {spec.sequence.name}: puts pixels not just in another order, so its images can't be"
            " shifted, turned or zoomed",
            "set training.shift_pixels, training.rotation_degrees and training.zoom_fraction to 0",
        )
    return order_P


def shifted(images_BHW: Tensor, offsets_B2: Tensor, most: int) -> Tensor:
    """Return images_BHW, each moved by its own whole pixels down and right; zeros come in at the edges.

    `offsets_B2` lie within -most to most. The pixel type is kept.
    """
    batch, height, width = images_BHW.shape
    padded_BHW = functional.pad(images_BHW, (most, most, most, most))
    per_image, per_row, _ = padded_BHW.stride()
    # Every window of an image's size, by where it starts: they overlap, and nothing is copied but those chosen.
    windows = padded_BHW.numel() - (height - 1) * per_row - (width - 1)
    windows_SHW = padded_BHW.as_strided((windows, height, width), (1, per_row, 1))
    down_B, right_B = (most - offsets_B2).unbind(1)
    starts_B = torch.arange(batch) * per_image + down_B * per_row + right_B
    return windows_SHW.index_select(0, starts_B.to(images_BHW.device))


def turned(images_BHW: Tensor, angles_B: Tensor, factors_B: Tensor) -> Tensor:
    """Return images_BHW as float32, turned about their centres by `angles_B` and enlarged by `factors_B`.

    Angles are in radians, anticlockwise. Pixels are interpolated bilinearly; what lies outside an image is zero.
    Both come on the CPU, which takes sine and cosine, so that devices agree.
    """
    _, height, width = images_BHW.shape
    device = images_BHW.device
    cos_B, sin_B = angles_B.cos() / factors_B, angles_B.sin() / factors_B
    # Where a pixel comes from, (x, y) in -1 to 1 across the image: one part of each goes with x, the other with y.
    # Not functional.affine_grid: its small matrix products take a CPU ten times as long.
    with_x_B2 = torch.stack((cos_B, sin_B * (width / height)), dim=1).to(device)
    with_y_B2 = torch.stack((-sin_B * (height / width), cos_B), dim=1).to(device)
    x_W = (2 * torch.arange(width, device=device) + 1) / width - 1
    y_H1 = (2 * torch.arange(height, device=device)[:, None] + 1) / height - 1
    source_B2HW = with_x_B2[:, :, None, None] * x_W + with_y_B2[:, :, None, None] * y_H1
    source_BHW2 = source_B2HW.permute(0, 2, 3, 1)
    images_B1HW = images_BHW.to(torch.float32).unsqueeze(1)
    turned_B1HW: Tensor = functional.grid_sample(images_B1HW, source_BHW2, align_corners=False)
    return turned_B1HW.squeeze(1)
