from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rnnpipe.catalogue import VARIANTS
from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.training import preflight
from rnnpipe.training.preflight import check_before_training


class Answering(nn.Module):
    """A net that changes another's input or answer."""

    def __init__(self, network, before=lambda x_BTI: x_BTI, after=lambda logits_BK: logits_BK) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x_BTI: Tensor) -> Tensor:
        return self.after(self.network(self.before(x_BTI)))


def zero_head(network: nn.Module) -> nn.Module:
    for parameter in network.head.parameters():
        nn.init.zeros_(parameter).requires_grad_(False)
    return network


def exploding(network: nn.Module) -> nn.Module:
    nn.init.constant_(network.head.weight, 1e4)
    nn.init.normal_(network.head.bias, std=1e4)
    return network


def poisoned(network: nn.Module) -> nn.Module:
    nn.init.constant_(network.head.bias, float("nan"))
    return network


@pytest.mark.parametrize("initialization", ["torch", "orthogonal"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_passes_unchanged(make_setting, data, name, seed, initialization):
    setting = make_setting(name, seed=seed, initialization=initialization)
    network = build_network(setting.spec, seed)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(seed)
    check_before_training(network, data, setting)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters()) and network.training


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (zero_head, "can't learn 8 images"),
        (lambda net: Answering(net, before=torch.zeros_like), "can't learn 8 images"),
        (
            lambda net: Answering(net, after=lambda logits: logits.mean(0, keepdim=True).expand_as(logits)),
            "can't learn",
        ),
        (lambda net: Answering(net, after=torch.zeros_like), "depends on no weight that learns"),
        (lambda net: net.requires_grad_(False), "depends on no weight that learns"),
        (exploding, "before training the loss is"),
        (poisoned, "before training the loss is nan"),
        (lambda net: Answering(net, after=lambda logits: logits[:, :2]), r"answers \(8, 2\), needed is \(8, 3\)"),
    ],
)
def test_a_net_that_can_not_learn_is_told_so(make_setting, data, spoil, sentence, monkeypatch):
    monkeypatch.setattr(preflight, "MAX_UPDATES", 50)
    setting = make_setting()
    with pytest.raises(TrainingError, match=sentence) as found:
        check_before_training(spoil(build_network(setting.spec, 0)), data, setting)
    assert found.value.fix


def test_images_that_are_all_alike_are_told(make_setting, data, monkeypatch):
    monkeypatch.setattr(preflight, "MAX_UPDATES", 50)
    setting = make_setting()
    same = replace(data, train_x_NTI=data.train_x_NTI[:1].expand_as(data.train_x_NTI))
    with pytest.raises(TrainingError, match=r"only how often each class comes gives 1\.0"):
        check_before_training(build_network(setting.spec, 0), same, setting)


def test_sequences_of_another_shape_are_told(make_setting, data):
    setting = make_setting()
    with pytest.raises(TrainingError, match=r"sequences are \(5, 6\), the net reads \(6, 6\)"):
        check_before_training(
            build_network(setting.spec, 0), replace(data, train_x_NTI=data.train_x_NTI[:, :5]), setting
        )


def test_long_sequences_are_shortened_to_where_the_images_differ(make_setting, data):
    setting = make_setting("lstm")
    padding = torch.zeros(len(data.train_y_N), 300, 6, dtype=torch.uint8)
    padded = replace(data, train_x_NTI=torch.cat([data.train_x_NTI, padding], dim=1))
    setting = replace(setting, spec=setting.spec.model_copy(update={"steps": 306}))
    check_before_training(build_network(setting.spec, 0), padded, setting)


@pytest.mark.parametrize("classes", [("only",), ("first", "second", "third")])
def test_one_class_or_few_images_are_nothing_to_learn_but_no_mistake(make_setting, data, classes):
    setting = make_setting()
    setting = replace(setting, spec=setting.spec.model_copy(update={"classes": classes}))
    few = replace(data, train_x_NTI=data.train_x_NTI[:3], train_y_N=torch.zeros(3, dtype=torch.int64))
    check_before_training(build_network(setting.spec, 0), few, setting)
