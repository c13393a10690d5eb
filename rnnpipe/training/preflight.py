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
MAX_UPDATES = 80
LEARNING_RATE = 0.01
FIRST_LOSS_FACTOR = 3.0  # an untrained net's loss lies near ln K; far above it, inputs or weights are off
NEEDED_SHARE = 0.97  # of the loss that knowing only the labels' frequencies would reach


def check_before_training(network: nn.Module, data: TrainingData, setting: Setting) -> None:
    """Try a copy of `network` on one small batch; TrainingError says what is wrong. The network isn't changed.

    One batch must be learnable: the loss has to fall below the entropy of its labels, which no net reaches that
    does not look at its input.
    """
    spec, total = setting.spec, len(data.train_y_N)
    chosen = torch.linspace(0, total - 1, min(FEW_IMAGES, total)).long().to(data.train_y_N.device)
    x_BTI = scale_pixels(data.train_x_NTI[chosen].to(setting.device), spec)
    y_B = data.train_y_N[chosen].to(setting.device)
    if x_BTI.shape[1:] != (spec.steps, spec.features):
        raise TrainingError(f"sequences are {tuple(x_BTI.shape[1:])}, the net reads {(spec.steps, spec.features)}")
    trial = copy.deepcopy(network).train()
    num_classes, chance = len(spec.classes), math.log(len(spec.classes))
    logits_BK = trial(x_BTI)
    if logits_BK.shape != (len(y_B), num_classes):
        raise TrainingError(f"the net answers {tuple(logits_BK.shape)}, needed is {(len(y_B), num_classes)}")
    first = functional.cross_entropy(logits_BK, y_B).item()
    if not first < FIRST_LOSS_FACTOR * chance + 1:
        raise TrainingError(
            f"before training the loss is {first:.3g}; a net that knows nothing has ln K = {chance:.3g}",
            "check the variant's initialization and sequence.scaling",
        )
    if num_classes > 1:
        _check_learnable(trial, x_BTI, y_B)


def _check_learnable(trial: nn.Module, x_BTI: torch.Tensor, y_B: torch.Tensor) -> None:
    shares = torch.bincount(y_B.cpu()).double() / len(y_B)
    entropy = -(shares[shares > 0] * shares[shares > 0].log()).sum().item()
    needed = NEEDED_SHARE * entropy
    optimizer = torch.optim.Adam(trial.parameters(), lr=LEARNING_RATE)
    reached = math.inf
    for _ in range(MAX_UPDATES):
        loss = functional.cross_entropy(trial(x_BTI), y_B)
        reached = min(reached, loss.item())
        if entropy == 0 or reached < needed:
            return
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trial.parameters(), 1.0)
        optimizer.step()
    raise TrainingError(
        f"the net can't learn {len(y_B)} images: after {MAX_UPDATES} updates the loss is {reached:.3g}, and"
        f" knowing only how often each class comes gives {entropy:.3g}",
        "check the data's labels and the variant; `training.preflight: false` trains all the same",
    )
