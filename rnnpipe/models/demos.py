"""The toy runs of dair.ai's "RNNs with PyTorch": four instances, two time steps, outputs Y0 and Y1.

The tutorial states that its three ways to write the net are the same; each run here checks it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnpipe.config import VariantConfig
from rnnpipe.models.initialization import seeded_weights
from rnnpipe.models.manual import Basic, SingleNeuron
from rnnpipe.models.parity import Parity, as_cell_loop, as_rnn, compare, widen

TOLERANCE = 1e-12

FOUR_INPUTS_X0 = ((0, 1, 2, 0), (3, 4, 5, 0), (6, 7, 8, 0), (9, 0, 1, 0))
FOUR_INPUTS_X1 = ((9, 8, 7, 0), (0, 0, 0, 0), (6, 5, 4, 0), (3, 2, 1, 0))
THREE_INPUTS_X0 = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 0, 1))
THREE_INPUTS_X1 = ((9, 8, 7), (0, 0, 0), (6, 5, 4), (3, 2, 1))


@dataclass(frozen=True)
class DemoReport:
    """What a toy run gave: Y0 and Y1 by instance and neuron, and how far the ways to write the net differ."""

    name: str
    summary: str
    seed: int
    outputs: dict[str, list[list[float]]]
    shapes: dict[str, tuple[int, ...]]
    parity: tuple[Parity, ...]
    tolerance: float
    agrees: bool


def single_neuron_demo(seed: int) -> DemoReport:
    """Run one neuron over four inputs; Y0 and Y1 are 4 x 1."""
    x_BTI = _steps(FOUR_INPUTS_X0, FOUR_INPUTS_X1)
    with seeded_weights(seed):
        neuron = SingleNeuron(4, VariantConfig(name="single-neuron")).double()
        encoders = {"single-neuron": neuron, **_ways(widen(neuron))}
    return _report("single-neuron", "one neuron, four inputs, weights written by hand", seed, encoders, x_BTI)


def basic_demo(seed: int) -> DemoReport:
    """Run five neurons over three inputs, written by hand; Y0 and Y1 are 4 x 5."""
    encoders = _five_neurons(seed)
    x_BTI = _steps(THREE_INPUTS_X0, THREE_INPUTS_X1)
    return _report("basic", "five neurons, three inputs, weights written by hand", seed, encoders, x_BTI)


def cell_demo(seed: int) -> DemoReport:
    """Run the five neurons as nn.RNNCell, with the same weights; Y0 and Y1 are 4 x 5."""
    encoders = _five_neurons(seed)
    x_BTI = _steps(THREE_INPUTS_X0, THREE_INPUTS_X1)
    return _report("rnn-cell", "the same five neurons as nn.RNNCell", seed, encoders, x_BTI)


def run_demos(seed: int) -> tuple[DemoReport, ...]:
    """Run the toys in the tutorial's order; the same seed gives the same reports."""
    return single_neuron_demo(seed), basic_demo(seed), cell_demo(seed)


def _five_neurons(seed: int) -> dict[str, nn.Module]:
    with seeded_weights(seed):
        return _ways(Basic(3, VariantConfig(name="basic", hidden_size=5)).double())


def _ways(basic: Basic) -> dict[str, nn.Module]:
    return {"basic": basic, "rnn-cell": as_cell_loop(basic), "nn.RNN": as_rnn(basic)}


def _steps(*x_TBI: tuple[tuple[int, ...], ...]) -> Tensor:
    return torch.tensor(x_TBI, dtype=torch.float64).transpose(0, 1)


@torch.no_grad()
def _run(encoder: nn.Module, x_BTI: Tensor) -> dict[str, Tensor]:
    return {f"Y{step}": encoder(x_BTI[:, : step + 1]) for step in range(x_BTI.shape[1])}


def _report(name: str, summary: str, seed: int, encoders: dict[str, nn.Module], x_BTI: Tensor) -> DemoReport:
    outputs = _run(encoders[name], x_BTI)
    parity = compare(encoders, x_BTI)
    return DemoReport(
        name=name,
        summary=summary,
        seed=seed,
        outputs={step: y_BH.tolist() for step, y_BH in outputs.items()},
        shapes={step: tuple(y_BH.shape) for step, y_BH in outputs.items()},
        parity=parity,
        tolerance=TOLERANCE,
        agrees=all(
            difference <= TOLERANCE
            for pair in parity
            for difference in (pair.output_difference, pair.gradient_difference)
        ),
    )
