import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnpipe.errors import DeviceError
from rnnpipe.evaluation.deploy import build_network, scale_pixels
from rnnpipe.evaluation.predict import measure_latency, predict, time_calls

CPU = torch.device("cpu")


class LittleMemory(nn.Module):
    """A net for which memory runs out with batches above a size, as the CPU or a GPU tells it."""

    def __init__(self, network: nn.Module, fits: int, error: Exception) -> None:
        super().__init__()
        self.network, self.fits, self.error = network, fits, error
        self.batches: list[int] = []

    def forward(self, x_NTI: Tensor) -> Tensor:
        if len(x_NTI) > self.fits:
            raise self.error
        self.batches.append(len(x_NTI))
        return self.network(x_NTI)


@pytest.fixture(name="x_NTI")
def make_pixels() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8))


def test_batches_give_what_the_whole_gives(make_spec, x_NTI):
    spec = make_spec()
    network = build_network(spec, seed=1)
    whole_NK = network(scale_pixels(x_NTI, spec)).softmax(1).detach()
    found = predict(network, x_NTI, spec, CPU, 7)
    torch.testing.assert_close(found.probabilities_NK, whole_NK)
    assert found.probabilities_NK.dtype == torch.float32 and (found.batch_size, found.halvings) == (7, 0)


def test_dropout_is_off(make_spec, x_NTI):
    spec = make_spec()
    network = nn.Sequential(build_network(spec, seed=1), nn.Dropout(0.5)).train()
    first, second = (predict(network, x_NTI, spec, CPU, 50).probabilities_NK for _ in range(2))
    assert torch.equal(first, second) and not network.training


def test_memory_mapped_pixels_are_read_batch_by_batch(make_spec, x_NTI, tmp_path: Path):
    spec = make_spec()
    np.save(tmp_path / "x.npy", x_NTI.numpy())
    mapped_NTI = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c", allow_pickle=False))
    network = build_network(spec, seed=1)
    expected = predict(network, x_NTI, spec, CPU, 16)
    assert torch.equal(predict(network, mapped_NTI, spec, CPU, 16).probabilities_NK, expected.probabilities_NK)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
    ids=["torch", "mps", "linux", "windows", "python"],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error, make_spec, x_NTI, caplog):
    spec = make_spec()
    network = build_network(spec, seed=1)
    little = LittleMemory(network, fits=13, error=error)
    with caplog.at_level(logging.WARNING):
        found = predict(little, x_NTI, spec, CPU, 1000)
    # 50 images at once don't fit, 25 neither; 12 do, four times, and the rest is 2: none was done twice.
    assert (found.batch_size, found.halvings, little.batches) == (12, 2, [12, 12, 12, 12, 2])
    assert [record.args[0] for record in caplog.records] == [50, 25]
    expected = predict(network, x_NTI, spec, CPU, 12)
    assert torch.equal(found.probabilities_NK, expected.probabilities_NK)
    whole = predict(network, x_NTI, spec, CPU, 50)
    torch.testing.assert_close(found.probabilities_NK, whole.probabilities_NK)
    assert torch.equal(found.probabilities_NK.argmax(1), whole.probabilities_NK.argmax(1))


def test_a_single_image_that_does_not_fit_is_a_clear_error(make_spec, x_NTI):
    spec = make_spec()
    little = LittleMemory(build_network(spec, seed=1), fits=0, error=torch.OutOfMemoryError("out of memory"))
    with pytest.raises(DeviceError, match="cpu runs out of memory with a single image"):
        predict(little, x_NTI, spec, CPU, 8)


def test_other_errors_are_not_taken_for_a_lack_of_memory(make_spec, x_NTI):
    spec = make_spec()
    broken = LittleMemory(build_network(spec, seed=1), fits=0, error=RuntimeError("mat1 and mat2 shapes"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        predict(broken, x_NTI, spec, CPU, 8)


def test_latency_warms_up_and_times_each_repeat():
    calls: list[Tensor] = []
    p50_ms, p95_ms = measure_latency(lambda x: calls.append(x) or x, torch.zeros(1), CPU, repeats=20)
    assert 0 < p50_ms <= p95_ms and len(calls) > 20


def test_durations_are_those_of_the_calls_after_the_warm_up():
    pauses_s = iter([0.0, 0.02, 0.03])
    first_s, second_s = time_calls(lambda: time.sleep(next(pauses_s)), CPU, 2, warm_up=1)
    assert first_s >= 0.02 and second_s >= 0.03
