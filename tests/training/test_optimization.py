import itertools
import math

import pytest
import torch
from torch import nn

from rnnpipe.config.training import TrainingConfig
from rnnpipe.training.optimization import (
    ONE_CYCLE_END,
    ONE_CYCLE_START,
    SCHEDULES,
    build_optimizer,
    learning_rate_at,
    set_learning_rate,
)

TOTAL = 200
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def rates(**values: object) -> list[float]:
    config = TrainingConfig.model_validate({"learning_rate": 0.1, **values})
    return [learning_rate_at(step, TOTAL, config) for step in range(TOTAL)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_a_function_of_the_step_within_bounds(schedule):
    assert rates(schedule=schedule) == rates(schedule=schedule)
    assert all(0 < rate <= 0.1 for rate in rates(schedule=schedule))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.15, 0.99])
def test_a_single_update_has_a_rate(schedule, warmup):
    config = TrainingConfig(schedule=schedule, warmup_fraction=warmup, learning_rate=0.1)
    assert 0 < learning_rate_at(0, 1, config) <= 0.1


def test_constant_stays():
    assert set(rates(schedule="constant")) == {0.1}


def test_cosine_falls_from_the_highest_rate_through_half_towards_nothing():
    found = rates(schedule="cosine")
    assert found[0] == 0.1 and found == sorted(found, reverse=True)
    assert found[TOTAL // 2] == pytest.approx(0.05) and found[-1] < 1e-5


def test_one_cycle_rises_over_the_warm_up_then_falls_linearly():
    found, peak = rates(schedule="one-cycle", warmup_fraction=0.25), TOTAL // 4
    assert found[0] == pytest.approx(0.1 * ONE_CYCLE_START) and found[peak] == max(found) == 0.1
    rises = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert max(rises[:peak]) == pytest.approx(min(rises[:peak]))
    assert max(rises[peak:]) == pytest.approx(min(rises[peak:])) and max(rises[peak:]) < 0
    assert found[-1] + rises[-1] == pytest.approx(0.1 * ONE_CYCLE_END)


def test_one_cycle_without_warm_up_starts_at_the_highest_rate():
    assert rates(schedule="one-cycle", warmup_fraction=0)[0] == 0.1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_name_builds_its_optimizer_with_the_settings(name):
    decay = 0 if name == "adam" else 0.25
    config = TrainingConfig(optimizer=name, learning_rate=0.125, momentum=0.5, weight_decay=decay, adam_beta2=0.75)
    optimizer = build_optimizer(nn.Linear(2, 2).parameters(), config)
    group = optimizer.param_groups[0]
    assert type(optimizer) is OPTIMIZERS[name]
    assert (group["lr"], group["weight_decay"], group["fused"]) == (0.125, decay, True)
    assert name != "sgd" or group["momentum"] == 0.5
    assert name == "sgd" or group["betas"] == (0.9, 0.75)
    set_learning_rate(optimizer, 0.5)
    assert {each["lr"] for each in optimizer.param_groups} == {0.5}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fused_is_the_same_arithmetic(name):
    config = TrainingConfig(optimizer=name, learning_rate=0.01, weight_decay=0 if name == "adam" else 0.1)
    options = {"weight_decay": config.weight_decay} | ({"momentum": config.momentum} if name == "sgd" else {})
    results = []
    for is_fused in (True, False):
        torch.manual_seed(0)
        layer, x_BI = nn.Linear(4, 3), torch.randn(8, 4)
        optimizer = (
            build_optimizer(layer.parameters(), config)
            if is_fused
            else OPTIMIZERS[name](layer.parameters(), lr=0.01, fused=False, foreach=False, **options)
        )
        for _ in range(20):
            optimizer.zero_grad()
            layer(x_BI).square().mean().backward()
            optimizer.step()
        results.append(layer.weight.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    assert math.isfinite(results[0].sum().item())
