"""Predictions in batches that fit into memory, and how long they take."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rnnpipe.errors import DeviceError
from rnnpipe.evaluation.deploy import scale_pixels
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.runtime import synchronize

WARM_UP_RUNS = 10
OUT_OF_MEMORY_TEXTS = ("out of memory", "not enough memory", "can't allocate memory")

Network = Callable[[Tensor], Tensor]

logger = logging.getLogger(__name__)


class Predictions(NamedTuple):
    """Probabilities (N, K), float32 on the CPU, and the batch size that fitted after `halvings`."""

    probabilities_NK: Tensor
    batch_size: int
    halvings: int


def predict(
    network: Network, x_NTI: Tensor, spec: ModelSpec, device: torch.device, batch_size: int
) -> Predictions:
    """Return the class probabilities of sequences of pixel values 0..255 (uint8), memory-mapped or on the device.

    A batch at a time is read, moved to the device and scaled there. Where memory runs out the batch is halved
    and the work goes on where it was; DeviceError if not even one image fits. A module is left in eval mode.
    """
    if isinstance(network, nn.Module):
        network.eval()
    probabilities_NK = torch.empty(len(x_NTI), len(spec.classes))
    start = halvings = 0
    while start < len(x_NTI):
        batch_NTI = x_NTI[start : start + batch_size]
        batch_NK = _predict_if_it_fits(network, batch_NTI, spec, device)
        if batch_NK is None:
            batch_size = _halve(len(batch_NTI), device)
            halvings += 1
        else:
            probabilities_NK[start : start + len(batch_NTI)] = batch_NK
            start += len(batch_NTI)
    return Predictions(probabilities_NK, batch_size, halvings)


def _predict_if_it_fits(
    network: Network, batch_NTI: Tensor, spec: ModelSpec, device: torch.device
) -> Tensor | None:
    """Return the probabilities of one batch, or None where memory ran out.

    The exception ends here: as long as it lives it holds the tensors that were too many.
    """
    try:
        with torch.inference_mode():
            return network(scale_pixels(batch_NTI.to(device), spec)).softmax(dim=1, dtype=torch.float32).cpu()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def _halve(batch_size: int, device: torch.device) -> int:
    if batch_size == 1:
        raise DeviceError(
            f"{device} runs out of memory with a single image",
            fix="use another execution.device, a smaller net, or a transform with fewer steps",
        )
    if device.type != "cpu":
        torch.accelerator.empty_cache()
    logger.warning(
        "out of memory with %d images a batch on %s, going on with %d", batch_size, device, batch_size // 2
    )
    return batch_size // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, of the CPU or of an accelerator."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)
    )


def measure_latency(network: Network, example: Tensor, device: torch.device, repeats: int) -> tuple[float, float]:
    """Return median and 95th percentile in ms of `repeats` calls with `example`, which lies on the device."""
    durations_ms = [1000 * duration_s for duration_s in time_calls(lambda: network(example), device, repeats)]
    median_ms, high_ms = np.percentile(durations_ms, [50, 95])
    return float(median_ms), float(high_ms)


def time_calls(
    call: Callable[[], object], device: torch.device, repeats: int, *, warm_up: int = WARM_UP_RUNS
) -> list[float]:
    """Return the duration in seconds of each of `repeats` calls, after `warm_up` that aren't timed.

    The device is idle at the start of each and has finished at the end.
    """
    durations_s = []
    with torch.inference_mode():
        for _ in range(warm_up):
            call()
        for _ in range(repeats):
            synchronize(device)
            start_s = time.perf_counter()
            call()
            synchronize(device)
            durations_s.append(time.perf_counter() - start_s)
    return durations_s
