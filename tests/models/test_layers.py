"""torch's recurrent layers against cells in a loop, layer by layer and direction by direction."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnpipe.catalogue import VARIANTS, load_target
from rnnpipe.config import VariantConfig

LAYERED = [name for name, spec in VARIANTS.items() if "bidirectional" in spec.options]


def inputs(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def make(name: str, **options: Any) -> tuple[Any, VariantConfig]:
    config = VariantConfig(name=name, hidden_size=5, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return load_target(VARIANTS[name].build)(3, config).double(), config


def run_cell(layers: nn.Module, suffix: str, x_BTI: Tensor, nonlinearity: str) -> Tensor:
    """Return the states after every step, (B, T, H), of one layer's weights in a torch cell."""
    weights = {
        name.removesuffix(suffix): weight for name, weight in layers.state_dict().items() if name.endswith(suffix)
    }
    cell_type = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[type(layers)]
    options = {"nonlinearity": nonlinearity} if cell_type is nn.RNNCell else {}
    cell = cell_type(x_BTI.shape[2], 5, **options).double()
    cell.load_state_dict(weights)
    state, states = None, []
    for x_BI in x_BTI.unbind(1):
        state = cell(x_BI, state)
        states.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(states, dim=1)


def run_stack(encoder: Any, config: VariantConfig, x_BTI: Tensor) -> Tensor:
    """Return the last layer's final states, computed with cells; the reverse direction on flipped steps."""
    final = []
    for layer in range(config.num_layers):
        states_BTH = run_cell(encoder.layers, f"_l{layer}", x_BTI, config.nonlinearity)
        final = [states_BTH[:, -1]]
        if config.bidirectional:
            reverse_BTH = run_cell(encoder.layers, f"_l{layer}_reverse", x_BTI.flip(1), config.nonlinearity)
            final.append(reverse_BTH[:, -1])
            states_BTH = torch.cat([states_BTH, reverse_BTH.flip(1)], dim=2)
        x_BTI = states_BTH
    return torch.cat(final, dim=1)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", LAYERED)
def test_layers_are_their_cells_in_a_loop(name: str, bidirectional: bool, num_layers: int) -> None:
    encoder, config = make(name, num_layers=num_layers, bidirectional=bidirectional)
    x_BTI = inputs(4, 28, 3)
    expected = run_stack(encoder, config, x_BTI)
    assert expected.shape == (4, encoder.output_size)
    torch.testing.assert_close(encoder(x_BTI), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_relu_is_passed_on(num_layers: int) -> None:
    encoder, config = make("rnn", num_layers=num_layers, nonlinearity="relu")
    x_BTI = inputs(4, 28, 3)
    torch.testing.assert_close(encoder(x_BTI), run_stack(encoder, config, x_BTI), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERED)
def test_both_directions_are_two_separate_nets(name: str) -> None:
    both, _ = make(name, num_layers=1, bidirectional=True)
    x_BTI = inputs(4, 9, 3)
    parts = []
    for suffix, x in (("_l0", x_BTI), ("_l0_reverse", x_BTI.flip(1))):
        one, _ = make(name, num_layers=1)
        one.layers.load_state_dict(
            {key: both.layers.state_dict()[key.replace("_l0", suffix)] for key in one.layers.state_dict()}
        )
        parts.append(one(x))
    torch.testing.assert_close(both(x_BTI), torch.cat(parts, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERED)
def test_dropout_acts_between_layers_while_training_only(name: str) -> None:
    encoder, _ = make(name, num_layers=2, dropout=0.5)
    plain, _ = make(name, num_layers=2)
    plain.load_state_dict(encoder.state_dict())
    x_BTI = inputs(4, 9, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(encoder(x_BTI), encoder(x_BTI))
    torch.testing.assert_close(encoder.eval()(x_BTI), plain.eval()(x_BTI), rtol=0, atol=0)


@pytest.mark.parametrize("name", LAYERED)
def test_truncated_gradients_end_where_they_are_cut(name: str) -> None:
    """The state is the same; gradients are those of the last steps, given the state before them."""
    whole, _ = make(name, num_layers=2)
    cut, _ = make(name, num_layers=2, truncated_steps=4)
    x_BTI = inputs(4, 9, 3).requires_grad_()
    torch.testing.assert_close(cut(x_BTI), whole(x_BTI), rtol=0, atol=1e-12)
    with torch.no_grad():
        _, state = whole.layers(x_BTI[:, :5])
    _, last = whole.layers(x_BTI[:, 5:], state)
    expected = (last[0] if isinstance(last, tuple) else last)[-1]
    weights = list(whole.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(cut(x_BTI).sum(), [x_BTI, *cut.parameters()]),
        torch.autograd.grad(expected.sum(), [x_BTI, *weights]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    (reach_BTI,) = torch.autograd.grad(cut(x_BTI).sum(), x_BTI)
    assert not reach_BTI[:, :5].any() and reach_BTI[:, 5:].any()
    (reach_BTI,) = torch.autograd.grad(cut.eval()(x_BTI).sum(), x_BTI)
    assert reach_BTI.all(), "who only asks sees the whole way"
