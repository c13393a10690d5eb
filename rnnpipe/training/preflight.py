"""The check before a training: shapes, a sensible first loss, and that the net can learn anything at all."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional

from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import scale_pixels
from rnnpipe.training.setting import Setting, TrainingData

FEW_IMAGES = 8
STEPS_TRIED = (16, 4)
MAX_UPDATES = 300
LEARNING_RATE = 0.01
FIRST_LOSS_FACTOR = 3.0  # an untrained net's loss lies near ln K; far above it, inputs or weights are off
NEEDED_SHARE = 0.97  # of the loss that knowing only the labels' frequencies would reach


def check_before_training(network: nn.Module, data: TrainingData, setting: Setting) -> None:
    """Try a copy of `network` on one small batch; TrainingError says what is wrong. The network isn't changed.

    One batch must be learnable: the loss has to fall below the entropy of its labels, which no net reaches that
    does not look at its input. For that the sequences are shortened to the steps in which the images differ most,
    and once more before giving up: what a net forgets at first over many steps, or a saturated neuron can't see,
    whole epochs may still teach it.
    """
    x_BTI, y_B = _few_images(data, setting)
    spec = setting.spec
    if x_BTI.shape[1:] != (spec.steps, spec.features):
        raise TrainingError(
            f"sequences are {tuple(x_BTI.shape[1:])}, the net reads {(spec.steps, spec.features)}",
            "the sequences and the model are of different configs: start from the images again",
        )
    logits_BK = copy.deepcopy(network).train()(x_BTI)
    if logits_BK.shape != (len(y_B), len(spec.classes)):
        raise TrainingError(
            f"the net answers {tuple(logits_BK.shape)}, needed is {(len(y_B), len(spec.classes))}",
            "a variant gives one logit an image and class: check its output_size and forward",
        )
    if not logits_BK.requires_grad:
        raise TrainingError(
            "the net's answer depends on no weight that learns",
            "check the variant's forward for detached tensors and frozen parameters",
        )
    _check_first_loss(functional.cross_entropy(logits_BK, y_B).item(), len(spec.classes))
    _check_learnable(network, x_BTI, y_B)


def _telling_steps(x_BTI: torch.Tensor, steps: int) -> torch.Tensor:
    """Return the steps in which the images differ most, at most so many, in their order."""
    variance_T = x_BTI.nan_to_num().var(dim=0, correction=0).sum(dim=1)
    chosen = variance_T.topk(min(steps, len(variance_T))).indices.sort().values
    return x_BTI[:, chosen]


def _few_images(data: TrainingData, setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a few images, x_BTI scaled, and their labels y_B, spread over the classes."""
    by_class = data.train_y_N.argsort(stable=True)
    total = len(by_class)
    chosen = by_class[torch.linspace(0, total - 1, min(FEW_IMAGES, total)).long().to(by_class.device)]
    x_BTI = scale_pixels(data.train_x_NTI[chosen].to(setting.device), setting.spec)
    return x_BTI, data.train_y_N[chosen].to(setting.device)


def _check_first_loss(loss: float, num_classes: int) -> None:
    chance = math.log(num_classes)
    if not loss < FIRST_LOSS_FACTOR * chance + 1:
        raise TrainingError(
            f"before training the loss is {loss:.3g}; a net that knows nothing has ln K = {chance:.3g}",
            "check the variant's initialization and sequence.scaling",
        )


def _check_learnable(network: nn.Module, x_BTI: torch.Tensor, y_B: torch.Tensor) -> None:
    shares = torch.bincount(y_B.cpu()).double() / len(y_B)
    entropy = -shares.xlogy(shares).sum().item()
    if entropy == 0:  # one class: there is nothing to tell apart
        return
    needed, reached = NEEDED_SHARE * entropy, math.inf
    for steps in STEPS_TRIED:
        reached = min(reached, _lowest_loss(network, _telling_steps(x_BTI, steps), y_B, needed))
        if reached < needed:
            return
    raise TrainingError(
        f"the net can't learn {len(y_B)} images: after {MAX_UPDATES} updates the loss is {reached:.3g}, and"
        f" knowing only how often each class comes gives {entropy:.3g}",
        "check the data's labels and the variant; `training.preflight: false` trains all the same",
    )


def _lowest_loss(network: nn.Module, x_BTI: torch.Tensor, y_B: torch.Tensor, needed: float) -> float:
    """Return the lowest loss that updates of a copy of the net reach, or the first below `needed`."""
    trial = copy.deepcopy(network).train()
    for module in trial.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0  # by its noise a net that can't learn would get below `needed` once
    optimizer = torch.optim.Adam(trial.parameters(), lr=LEARNING_RATE)
    reached = math.inf
    for _ in range(MAX_UPDATES):
        loss = functional.cross_entropy(trial(x_BTI), y_B)
        reached = min(reached, loss.item())
        if reached < needed:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trial.parameters(), 1.0)
        optimizer.step()
    return reached
