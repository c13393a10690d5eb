"""What a net is like besides its accuracy: how it bears changed images, and how far its gradients reach back.

Shapes: N images, H x W pixels, T steps, I features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import affine

from rnnpipe.evaluation.deploy import scale_pixels
from rnnpipe.evaluation.metrics import Integers, count_correct, spread
from rnnpipe.evaluation.order import images_of, transform_of
from rnnpipe.evaluation.predict import is_out_of_memory, predict
from rnnpipe.evaluation.report import Robustness
from rnnpipe.evaluation.spec import ModelSpec

MAX_IMAGES = 500
MAX_GRADIENT_IMAGES, GRADIENT_BATCH = 200, 50
SEED = 0  # of noise and of the rows that go missing: the same for all nets

Change = Callable[[Tensor, float], Tensor]


def _shifted(images_NHW: Tensor, pixels: float) -> Tensor:
    """Move a quarter of the images each to the right, down, left and up, by whole pixels."""
    moved_NHW = torch.empty_like(images_NHW)
    for way, (right, down) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
        moved_NHW[way::4] = _moved(images_NHW[way::4], 0.0, [int(pixels) * right, int(pixels) * down])
    return moved_NHW


def _turned(images_NHW: Tensor, degrees: float) -> Tensor:
    """Turn half of the images each clockwise and back."""
    moved_NHW = torch.empty_like(images_NHW)
    for way, sign in enumerate((1, -1)):
        moved_NHW[way::2] = _moved(images_NHW[way::2], sign * degrees, [0, 0])
    return moved_NHW


def _moved(images_NHW: Tensor, degrees: float, pixels: list[int]) -> Tensor:
    moved_NHW: Tensor = affine(
        images_NHW, degrees, pixels, 1.0, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    return moved_NHW


def _noisy(images_NHW: Tensor, deviation: float) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    noise_NHW = torch.randn(images_NHW.shape, generator=generator)
    return (images_NHW + 255 * deviation * noise_NHW).clamp(0, 255).round().to(torch.uint8)


def _without_rows(images_NHW: Tensor, share: float) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    order_NH = torch.rand(images_NHW.shape[:2], generator=generator).argsort(dim=1)
    is_missing_NH = order_NH < round(share * images_NHW.shape[1])
    return images_NHW.masked_fill(is_missing_NH[:, :, None], 0)


CHANGES: dict[str, tuple[Change, tuple[float, ...]]] = {
    "shift, pixels any way": (_shifted, (0, 1, 2, 3, 4)),
    "rotation, degrees either way": (_turned, (0, 10, 20, 30, 45)),
    "noise, share of white": (_noisy, (0, 0.1, 0.2, 0.3, 0.5)),
    "missing rows, share": (_without_rows, (0, 0.1, 0.2, 0.3, 0.5)),
}


def _changed(images: Tensor, change: Change, level: float) -> Tensor:
    """Return images changed by a level; those in colour (N, H, W, 3) in each plane alike, with the same noise."""
    if not level:
        return images
    if images.ndim == 3:
        return change(images, level)
    return torch.stack([change(plane_NHW, level) for plane_NHW in images.unbind(3)], dim=3)


def robustness(
    network: nn.Module, x_NTI: Tensor, labels_N: Integers, spec: ModelSpec, device: torch.device
) -> tuple[Robustness, ...]:
    """Return for each kind of change how many of at most 500 images are still recognised, level by level.

    Nothing where the images can't be had back from the sequences.
    """
    places_N, transform = spread(len(labels_N), MAX_IMAGES), transform_of(spec)
    images = images_of(x_NTI[torch.from_numpy(places_N)], spec)
    if images is None:
        return ()
    found = []
    for kind, (change, levels) in CHANGES.items():
        correct = []
        for level in levels:
            x_NTI = transform(_changed(images, change, level))
            probabilities_NK = predict(network, x_NTI, spec, device, len(images)).probabilities_NK
            correct.append(count_correct(probabilities_NK.numpy(), labels_N[places_N]))
        found.append(Robustness(kind=kind, levels=levels, correct=tuple(correct), images=len(images)))
    return tuple(found)


def gradient_norms(network: nn.Module, x_NTI: Tensor, labels_N: Integers, spec: ModelSpec) -> tuple[float, ...]:
    """Return for each step the mean norm of the loss's gradient at that step's pixels, as the net sees them.

    It tells how much what was read there still counts at the end; of at most 200 images, spread over the split.
    Nothing where memory doesn't hold the way back, or a norm isn't finite.
    Source: Pascanu, Mikolov, Bengio, “On the difficulty of training recurrent neural networks”, 2013, who take the
    gradient at the states.
    """
    places_N = spread(len(labels_N), MAX_GRADIENT_IMAGES)
    total_T = torch.zeros(x_NTI.shape[1])
    try:
        for chosen in torch.split(torch.from_numpy(places_N), GRADIENT_BATCH):
            total_T += _gradient_norms(network, x_NTI[chosen], torch.from_numpy(labels_N)[chosen], spec).cpu()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return ()
    norms: list[float] = (total_T / len(places_N)).tolist()
    return tuple(norms) if total_T.isfinite().all() else ()


def _gradient_norms(network: nn.Module, x_BTI: Tensor, labels_B: Tensor, spec: ModelSpec) -> Tensor:
    """Return for each step the sum over the images of the norms."""
    device = next(network.parameters()).device
    x = scale_pixels(x_BTI.to(device), spec).requires_grad_()
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradients in eval mode
        loss = functional.cross_entropy(network(x), labels_B.to(device), reduction="sum")
        (gradient_BTI,) = torch.autograd.grad(loss, x)
    norms_T: Tensor = gradient_BTI.norm(dim=2).sum(dim=0)
    return norms_T
