"""Padding changes no answer: whatever stands after a sequence's end, and however much of it."""

import pytest
import torch
from torch import nn

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import VariantConfig
from rnnpipe.errors import ConfigError
from rnnpipe.models.classifier import build_classifier
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.models.layers import Layers, export_of_layers
from rnnpipe.models.lengths import final_states, turned_round

LENGTHS = (9, 1, 4, 6, 9)
CONFIGS = [
    *(VariantConfig(name=name, hidden_size=6) for name, spec in VARIANTS.items() if spec.reads_lengths),
    *(VariantConfig(name=name, hidden_size=6, bidirectional=True) for name in ("image-rnn", "rnn", "gru", "lstm")),
    VariantConfig(name="rnn", hidden_size=6, nonlinearity="relu", bidirectional=True),
]
each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.label)


def network_of(config, has_lengths=True):
    return build_classifier(config, input_size=3, num_classes=4, seed=1, has_lengths=has_lengths).eval()


def padded(steps=9):
    x_BTI = torch.randn(len(LENGTHS), 9, 3, generator=torch.Generator().manual_seed(0))
    for place, length in enumerate(LENGTHS):
        x_BTI[place, length:] = torch.nan
    more = torch.full((len(LENGTHS), steps - 9, 3), torch.nan)
    return torch.cat([x_BTI, more], dim=1)


def test_every_kind_of_layers_is_among_them():
    assert {config.name for config in CONFIGS} == {"image-rnn", "rnn", "gru", "lstm", "min-gru", "min-lstm"}


@each_config
def test_an_answer_is_that_of_the_sequence_alone(config):
    network, alone = network_of(config), network_of(config, has_lengths=False)
    logits_BK = network(padded())
    for place, length in enumerate(LENGTHS):
        expected_1K = alone(padded()[place : place + 1, :length])
        torch.testing.assert_close(logits_BK[place : place + 1], expected_1K, rtol=0, atol=1e-6)


@each_config
def test_more_padding_and_other_neighbours_change_nothing(config):
    network = network_of(config)
    logits_BK = network(padded())
    torch.testing.assert_close(network(padded(30)), logits_BK, rtol=0, atol=1e-6)
    torch.testing.assert_close(network(padded(30)[[3, 1]]), logits_BK[[3, 1]], rtol=0, atol=1e-6)


@each_config
def test_gradients_are_those_of_the_sequences_alone(config):
    network, alone = network_of(config), network_of(config, has_lengths=False)
    found = torch.autograd.grad(network(padded(12)).square().sum(), list(network.parameters()))
    loss = sum(alone(padded()[n : n + 1, :length]).square().sum() for n, length in enumerate(LENGTHS))
    expected = torch.autograd.grad(loss, list(alone.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_states_are_those_of_packed_sequences(kind, bidirectional):
    torch.manual_seed(0)
    layers = kind(3, 5, 2, batch_first=True, bidirectional=bidirectional)
    x_BTI, lengths_B = torch.randn(5, 9, 3), torch.tensor(LENGTHS)
    packed = nn.utils.rnn.pack_padded_sequence(x_BTI, lengths_B, batch_first=True, enforce_sorted=False)
    _, last = layers(packed)
    h_LBH = last[0] if kind is nn.LSTM else last
    expected = torch.cat([h_LBH[-2], h_LBH[-1]], dim=1) if bidirectional else h_LBH[-1]
    torch.testing.assert_close(final_states(layers, x_BTI, lengths_B), expected, rtol=0, atol=1e-6)


def test_a_sequence_is_turned_round_within_its_length():
    x_BTI = torch.arange(10.0).view(2, 5, 1)
    found = turned_round(x_BTI, torch.tensor([3, 5])).squeeze(2)
    assert found.tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]


@each_config
def test_exported_for_any_batch_it_gives_the_same(config):
    network = network_of(config)
    with export_of_layers():
        exported = torch.export.export(
            network, (padded()[:2],), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
        ).module()
    for batch in (padded(), padded()[1:2], padded().repeat(20, 1, 1)):
        torch.testing.assert_close(exported(batch), network(batch), rtol=0, atol=1e-6)


def test_dropout_acts_between_the_layers_of_both_directions():
    config = VariantConfig(name="gru", hidden_size=6, bidirectional=True, dropout=0.5)
    network = network_of(config).train()
    assert not torch.equal(network(padded()), network(padded()))
    assert torch.equal(network.eval()(padded()), network(padded()))


def test_a_sequence_of_nothing_has_an_answer():
    logits_BK = network_of(VariantConfig(name="gru", hidden_size=6))(torch.full((2, 9, 3), torch.nan))
    assert logits_BK.isfinite().all()


@pytest.mark.parametrize("name", [name for name, spec in VARIANTS.items() if not spec.reads_lengths])
def test_variants_that_read_one_length_say_so(name):
    with pytest.raises(ConfigError, match=f"variants.name {name}: reads sequences of one length") as caught:
        network_of(VariantConfig(name=name))
    assert "gru" in caught.value.fix
    network_of(VariantConfig(name=name), has_lengths=False)


def test_truncated_gradients_are_for_one_length():
    with pytest.raises(ConfigError, match=r"truncated_steps 3"):
        network_of(VariantConfig(name="gru", truncated_steps=3))


def test_torch_computes_sequences_that_differ_in_length():
    network = network_of(VariantConfig(name="gru", hidden_size=6))
    kernels, reason = use_kernels(network, torch.device("cpu"), "fp32", "auto")
    assert (kernels, reason) == ("torch", "torch: the sequences differ in length")
    assert isinstance(network.encoder, Layers) and network.encoder.compute is None
