"""What every variant in the catalogue promises, with each of its options."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import VariantConfig
from rnnpipe.models.classifier import SequenceClassifier, build_classifier, count_parameters
from rnnpipe.models.layers import export_of_layers

NUM_STEPS, INPUT_SIZE, NUM_CLASSES = 6, 5, 4
OPTION_VALUES = {
    "num_layers": 3, "bidirectional": True, "dropout": 0.5, "truncated_steps": 3, "nonlinearity": "relu",
}  # fmt: skip


def configs() -> list[VariantConfig]:
    """Return each variant, small, as it is and with one option changed at a time."""
    found = []
    for name, spec in VARIANTS.items():
        sizes = {"name": name, "hidden_size": min(spec.hidden_size, 16)}
        changes: list[dict[str, Any]] = [{}, {"initialization": "orthogonal"}]
        changes += [{option: OPTION_VALUES[option]} for option in sorted(spec.options)]
        for change in changes:
            num_layers = 2 if "dropout" in change else spec.num_layers
            found.append(VariantConfig.model_validate(sizes | {"num_layers": num_layers} | change))
    return found


every_config = pytest.mark.parametrize("config", configs(), ids=lambda config: config.label)
every_variant = pytest.mark.parametrize("name", VARIANTS)


def build(config: VariantConfig, seed: int = 0) -> SequenceClassifier:
    return build_classifier(config, input_size=INPUT_SIZE, num_classes=NUM_CLASSES, seed=seed)


def inputs(batch_size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.rand(batch_size, NUM_STEPS, INPUT_SIZE, generator=generator)


@every_config
def test_sequences_become_logits(config: VariantConfig) -> None:
    net = build(config)
    for batch_size in (1, 2, 7):
        logits_BK = net(inputs(batch_size))
        assert logits_BK.shape == (batch_size, NUM_CLASSES)
        assert logits_BK.isfinite().all()


@every_config
def test_a_gradient_reaches_every_parameter(config: VariantConfig) -> None:
    net = build(config).eval()
    loss = nn.functional.cross_entropy(net(inputs(7)), torch.arange(7) % NUM_CLASSES)
    parameters = dict(net.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()))
    for name, gradient in zip(parameters, found, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


@every_config
def test_weights_are_a_function_of_the_seed_alone(config: VariantConfig) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = save(build(config).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        assert save(build(config).state_dict()) == first
        assert save(build(config, seed=1).state_dict()) != first


@every_variant
def test_weights_start_as_torch_starts_them(name: str) -> None:
    """U(-1/sqrt(H), 1/sqrt(H)): within the bound, nearly reaching it, and centred."""
    config = VariantConfig(name=name)
    bound = config.hidden_size**-0.5
    drawn = torch.cat([parameter.flatten() for parameter in build(config).encoder.parameters()]).detach()
    assert drawn.abs().max() <= bound
    if len(drawn) > 1000:
        assert drawn.abs().max() > 0.99 * bound
        assert abs(drawn.std() * math.sqrt(3) / bound - 1) < 0.05


@every_variant
def test_eight_sequences_are_learned_by_heart(name: str) -> None:
    net = build(VariantConfig(name=name, hidden_size=min(VARIANTS[name].hidden_size, 32)))
    x_BTI, y_B = inputs(8), torch.arange(8) % NUM_CLASSES
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1 if name == "single-neuron" else 0.03)
    for _ in range(80):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x_BTI), y_B)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    # One number can't keep four classes apart as well as many can.
    share = 0.6 if name == "single-neuron" else 0.1
    assert loss.item() < share * math.log(NUM_CLASSES)


@every_config
def test_the_exported_graph_is_the_net_at_any_batch_size(config: VariantConfig) -> None:
    net = build(config).eval()
    with export_of_layers():
        program = torch.export.export(net, (inputs(2),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    assert program.state_dict.keys() == net.state_dict().keys()
    assert not program.constants
    graph = program.module()
    for batch_size in (1, 2, 7):
        with torch.inference_mode():
            assert torch.equal(graph(inputs(batch_size)), net(inputs(batch_size)))


def test_only_the_parameters_that_train_are_counted() -> None:
    net = build(VariantConfig(name="basic", hidden_size=3))
    assert count_parameters(net) == (5 * 3 + 3 * 3 + 3) + (3 * 4 + 4)
    net.head.requires_grad_(False)
    assert count_parameters(net) == 5 * 3 + 3 * 3 + 3


def test_variants_of_the_tutorials_have_the_tutorials_sizes() -> None:
    """28 x 28 images by rows: one layer of 150; two layers of 128 with one, three and four gates."""
    sizes = {
        name: count_parameters(build_classifier(VariantConfig(name=name), input_size=28, num_classes=10, seed=0))
        for name in ("image-rnn", "rnn", "gru", "lstm")
    }
    head = 128 * 10 + 10
    layers = (28 + 128 + 2) * 128 + (128 + 128 + 2) * 128
    assert sizes["image-rnn"] == (28 + 150 + 2) * 150 + 150 * 10 + 10
    assert [sizes[name] for name in ("rnn", "gru", "lstm")] == [g * layers + head for g in (1, 3, 4)]
    assert all(small < large for small, large in pairwise([sizes["rnn"], sizes["gru"], sizes["lstm"]]))
