"""Which pixel stands where in a sequence, and the way back from sequences to images.

Shapes: N images, H x W pixels, T steps, I features, P = H * W pixels in a sequence's order. Images in colour are
(N, H, W, 3), and what is said of pixels holds for their P = H * W * 3 values.
"""

import math

import torch
from torch import Tensor

from rnnpipe.data.sequences import SequenceTransform, build_transform
from rnnpipe.evaluation.spec import ModelSpec


def transform_of(spec: ModelSpec) -> SequenceTransform:
    """Return the transform from what a spec takes to sequences; ConfigError where it doesn't fit."""
    height, width = spec.shape[:2]
    return build_transform((height, width), spec.sequence, spec.channels)


def images_of(x_NTI: Tensor, spec: ModelSpec) -> Tensor | None:
    """Return the images_NHW that sequences were made of; None where their transform did more than order pixels."""
    order_P = pixel_order(spec)
    if order_P is None:
        return None
    images_NP = torch.empty(len(x_NTI), len(order_P), dtype=x_NTI.dtype)
    images_NP[:, order_P] = x_NTI.flatten(1)
    return images_NP.view(-1, *spec.shape)


def pixel_order(spec: ModelSpec) -> Tensor | None:
    """Return which pixel, counted in reading order, stands at each place of a sequence, step after step: order_P.

    None where the transform doesn't just put each pixel at one place, and where there are no images.
    """
    if spec.series is not None:
        return None
    total = math.prod(spec.shape)
    # Twice, with other numbers, to see whether the transform reckons with values.
    numbers_2HW = torch.arange(2 * total).view(2, *spec.shape)
    x_2TI: Tensor = transform_of(spec)(numbers_2HW)
    order_P, again_P = x_2TI.flatten(1).unbind()
    is_complete = torch.equal(order_P.sort().values, torch.arange(total))
    is_order = not x_2TI.is_floating_point() and is_complete and torch.equal(again_P, order_P + total)
    return order_P if is_order else None
