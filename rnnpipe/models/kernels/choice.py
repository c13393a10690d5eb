"""Whether a net is computed by the compiled kernels or by torch, and why."""

import logging
from functools import cache

import torch
from torch import nn

from rnnpipe.config.execution import NO_KERNELS
from rnnpipe.errors import TrainingError
from rnnpipe.files import sha256_file
from rnnpipe.models.classifier import SequenceClassifier
from rnnpipe.models.initialization import seeded_weights
from rnnpipe.models.kernels.library import KernelsMissingError, library_path
from rnnpipe.models.kernels.passes import final_state
from rnnpipe.models.kernels.plain import plain_state
from rnnpipe.models.kernels.slices import sliced_state
from rnnpipe.models.layers import Layers
from rnnpipe.runtime import Precision, give_threads_to_kernels

TOLERANCE = 1e-4
# Neurons a layer: of wider layers, weights no longer fit the cache. Measured beside torch with AVX2, one thread.
FASTER_UP_TO = {"RNN_TANH": 512, "RNN_RELU": 512, "GRU": 1024, "LSTM": 256}
IN_THREADS = (final_state, sliced_state)  # they share out a batch's rows themselves: torch is to use one thread

logger = logging.getLogger(__name__)


def use_kernels(
    network: SequenceClassifier, device: torch.device, precision: Precision, request: str
) -> tuple[str, str]:
    """Let the kernels compute a net where they fit, unless `request` is torch; return name and reason.

    The name is "compiled" or "torch". Weights and what is saved of them stay the same; the process's threads are
    given to whoever computes. Raises TrainingError where the kernels are asked for, and it can't be done.
    """
    differ = "the sequences differ in length" if network.has_lengths else ""
    unfit = differ or _unfit(network.encoder, device, precision)
    slower = "" if unfit or request == "compiled" else _slower(network.encoder)
    missing = "asked for" if request == "torch" else unfit or slower or _absent()
    if missing and request == "compiled":
        raise TrainingError(
            f"execution.kernels=compiled was asked for, but: {missing}",
            "execution.kernels=auto takes torch's own where they are missing; only speed is lost",
        )
    compute = None if missing else final_state
    if isinstance(network.encoder, Layers):
        if missing and not unfit:
            compute = plain_state if isinstance(network.encoder.layers, nn.RNN) else sliced_state
        network.encoder.compute = compute
    give_threads_to_kernels(compute in IN_THREADS)
    reason = f"torch: {missing}" if missing else kernels_here()
    logger.info("kernels %s", reason)
    return "torch" if missing else "compiled", reason


def kernels_here() -> str:
    """Return the digest of this machine's kernels, as "compiled: 0123abcd", or "torch" where there are none."""
    return "torch" if _absent() else f"compiled: {sha256_file(library_path())[:12]}"


def _unfit(encoder: nn.Module, device: torch.device, precision: Precision) -> str:
    """Return in words why only torch as a whole can compute an encoder, "" where the kernels could."""
    if not isinstance(encoder, Layers):
        return "the net is written in torch, step by step"
    layers = encoder.layers
    if device.type != "cpu":
        return f"the kernels are for the CPU, {device.type} has its own"
    if precision != "fp32":
        return f"the kernels are for fp32, not for {precision}"
    lacks = {
        "bidirectional layers": layers.bidirectional,
        "dropout": layers.dropout,
        "truncated back-propagation": encoder.truncated_steps,
    }
    for name, is_wanted in lacks.items():
        if is_wanted:
            return f"the kernels have no {name}"
    return ""


def _slower(encoder: nn.Module) -> str:
    """Return in words why torch is faster than the kernels, "" where it isn't."""
    assert isinstance(encoder, Layers), "whoever asks has looked"
    layers = encoder.layers
    is_wide = layers.hidden_size > FASTER_UP_TO[layers.mode]
    return f"it is faster with {layers.hidden_size} neurons a layer" if is_wide else ""


def _absent() -> str:
    """Return in words why the kernels can't be had on this machine, "" where they can."""
    try:
        _check_kernels()
    except KernelsMissingError as missing:
        return f"{NO_KERNELS}{missing}"
    return ""


@cache
def _check_kernels() -> None:
    """Compare the kernels with torch on small layers, once a process; KernelsMissingError where they differ."""
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        with seeded_weights(0):
            layers, x_BTI = kind(5, 7, 2, batch_first=True), torch.rand(3, 4, 5)
        outputs_BTH, _ = layers(x_BTI)
        found = [
            (state_BH.detach(), *torch.autograd.grad(state_BH.sum(), list(layers.parameters())))
            for state_BH in (outputs_BTH[:, -1], final_state(layers, x_BTI))
        ]
        if not all(torch.allclose(ours, theirs, atol=TOLERANCE) for theirs, ours in zip(*found, strict=True)):
            raise KernelsMissingError(
                f"what this machine's compiler made of them differs from torch's {kind.__name__}"
            )
