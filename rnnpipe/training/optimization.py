"""Optimisers and learning-rate schedules, by the names that configs use."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from rnnpipe.config import TrainingConfig

ADAM_BETA1 = 0.9
ONE_CYCLE_START = 0.04  # of the highest rate, at the first update
ONE_CYCLE_END = 0.01  # of the highest rate, where an update after the last one would be


def constant(step: int, total: int, warmup_fraction: float) -> float:
    """Return 1 for every update."""
    return 1.0


def one_cycle(step: int, total: int, warmup_fraction: float) -> float:
    """Return a factor that rises linearly over the warm-up, then falls linearly (Smith, 2018)."""
    peak = warmup_fraction * total
    if step < peak:
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * step / peak
    return 1 - (1 - ONE_CYCLE_END) * (step - peak) / max(1.0, total - peak)


def cosine(step: int, total: int, warmup_fraction: float) -> float:
    """Return a factor that falls along half a cosine from 1 towards 0 (Loshchilov and Hutter, 2017).

    It would reach 0 after the last update: an update at rate 0 changes nothing.
    """
    return 0.5 * (1 + math.cos(math.pi * step / max(1, total)))


SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    "constant": constant,
    "one-cycle": one_cycle,
    "cosine": cosine,
}


def learning_rate_at(step: int, total: int, config: TrainingConfig) -> float:
    """Return the learning rate of update `step` of `total`: a function of the step alone, with no state."""
    return config.learning_rate * SCHEDULES[config.schedule](step, total, config.warmup_fraction)


def build_optimizer(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser a config names; fused: one kernel for all parameters, the same arithmetic."""
    rate, betas = config.learning_rate, (ADAM_BETA1, config.adam_beta2)
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=rate, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=config.weight_decay, fused=True)
    return torch.optim.Adam(parameters, lr=rate, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
