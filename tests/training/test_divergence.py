"""A training that leaves the finite numbers says at which step, and with which learning rate."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from comparing import unvalidated
from torch import Tensor, nn

from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.training.journal import epochs_of, step_losses
from rnnpipe.training.optimization import learning_rate_at
from rnnpipe.training.setting import Setting


class Spoiling(nn.Module):
    """A net whose answers are `spoil`-ed from the given call on, in training or only in validation."""

    def __init__(
        self, network: nn.Module, spoil: Callable[[Tensor], Tensor], *, calls: int, training: bool
    ) -> None:
        super().__init__()
        self.network, self.spoil, self.left, self.spoils_training = network, spoil, calls, training

    def forward(self, x_BTI: Tensor) -> Tensor:
        logits_BK: Tensor = self.network(x_BTI)
        if self.training != self.spoils_training:
            return logits_BK
        self.left -= 1
        return self.spoil(logits_BK) if self.left < 0 else logits_BK


def spoiled(setting: Setting, value: float, *, calls: int, training: bool) -> nn.Module:
    return Spoiling(build_network(setting.spec, 0), lambda logits: logits * value, calls=calls, training=training)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_and_rate(train, make_setting, data, value):
    setting = make_setting(training={"schedule": "cosine"})
    rate = learning_rate_at(8, 18, setting.config)
    with pytest.raises(
        TrainingError, match=rf"the loss became \w+ at step 8 \(epoch 2, learning rate {rate:.3g}\)"
    ):
        train(setting, data, spoiled(setting, value, calls=8, training=True))
    assert [step for step, _ in step_losses(train.events)] == list(range(8))


def test_a_learning_rate_far_too_high_stops_the_training(train, make_setting, data):
    setting = make_setting("rnn", nonlinearity="relu", training={"optimizer": "sgd", "gradient_clip_norm": None})
    setting = replace(setting, config=setting.config.model_copy(update={"learning_rate": 1e6}))
    with pytest.raises(TrainingError, match=r"at step \d+ \(epoch \d, learning rate 1e\+06\)"):
        train(setting, data)


def test_weights_that_the_last_update_spoils_stop_the_training(train, make_setting, data):
    training = {"epochs": 1, "batch_size": 90, "optimizer": "sgd", "gradient_clip_norm": None}
    setting = make_setting(training=training)
    setting = replace(setting, config=setting.config.model_copy(update={"learning_rate": 1e300}))
    with pytest.raises(
        TrainingError, match=r"the weights became infinite or NaN at step 0 \(epoch 1, .*1e\+300\)"
    ):
        train(setting, unvalidated(data))


def test_a_validation_loss_that_is_not_a_number_stops_with_step_and_rate(train, make_setting, data):
    setting = make_setting()
    with pytest.raises(
        TrainingError, match=r"validation loss became nan at step 11 \(epoch 2, learning rate 0.02\)"
    ):
        train(setting, data, spoiled(setting, math.nan, calls=1, training=False))
    assert len(epochs_of(train.events)) == 1
