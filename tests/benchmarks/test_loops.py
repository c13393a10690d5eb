"""All loops that are timed do the same work: the same images in the same order give the same weights."""

import pytest
import torch

from benchmarks.loops import BATCH, PipelineLoop, TutorialLoop, network_with, spec_of, synthetic_images
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.training.setting import epoch_order

UPDATES = 4


@pytest.mark.parametrize("kernels", ["torch", "compiled"])
@pytest.mark.parametrize("variant", ["rnn", "gru", "lstm"])
def test_rnnpipe_ends_with_the_tutorial_loops_weights(variant: str, kernels: str) -> None:
    images = synthetic_images(UPDATES * BATCH)
    tutorial = TutorialLoop(variant, *images)
    before = torch.nn.utils.parameters_to_vector(build_network(spec_of(variant), seed=0).parameters())
    network, reason = network_with(spec_of(variant), kernels)
    if network is None:
        pytest.skip(f"no {kernels} kernels: {reason}")
    tutorial.train(epoch_order(0, 1, UPDATES * BATCH).tolist())
    PipelineLoop(network, variant, images).train()
    expected, found = (
        torch.nn.utils.parameters_to_vector(each.parameters()) for each in (tutorial.network, network)
    )
    moved = (expected - before).norm()
    assert moved > 0.1
    # Adam's first updates are all signs: where a gradient is nearly nothing, rounding decides on it
    assert (found - expected).norm() < 1e-3 * moved
    # another order gives other weights, so the comparison can fail
    other = TutorialLoop(variant, *images)
    other.train(epoch_order(1, 1, UPDATES * BATCH).tolist())
    assert (torch.nn.utils.parameters_to_vector(other.network.parameters()) - expected).norm() > 1e-2 * moved
