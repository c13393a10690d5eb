"""Devices that this machine lacks are pretended by a probe; everything else is asked of torch itself."""

import random
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rnnpipe import runtime
from rnnpipe.errors import DeviceError
from rnnpipe.runtime import Probe, choose_precision, resolve_device

CPU = torch.device("cpu")


def machine(counts: dict[str, int], bf16: bool = False) -> Probe:
    return Probe(count=lambda kind: counts.get(kind, 0), has_bf16=lambda device: bf16)


@pytest.fixture
def _restore_torch() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        state, numpy_state = random.getstate(), np.random.get_state()
        cudnn = torch.backends.cudnn.deterministic
        yield
        random.setstate(state)
        np.random.set_state(numpy_state)
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic = cudnn
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(
    ("request_", "counts", "name"),
    [
        ("auto", {}, "cpu"),
        ("auto", {"cuda": 2, "xpu": 1, "mps": 1}, "cuda:0"),
        ("auto", {"xpu": 1, "mps": 1}, "xpu:0"),
        ("auto", {"mps": 1}, "mps"),
        ("cpu", {"cuda": 1}, "cpu"),
        ("cuda", {"cuda": 2}, "cuda:0"),
        ("cuda:1", {"cuda": 2}, "cuda:1"),
        ("mps", {"mps": 1}, "mps"),
        ("xpu", {"xpu": 1}, "xpu:0"),
        ("xpu:0", {"xpu": 1}, "xpu:0"),
    ],
)
def test_the_device_asked_for_is_found(request_: str, counts: dict[str, int], name: str) -> None:
    device = resolve_device(request_, machine(counts))
    assert device.name == name
    assert device.kind == device.torch.type == name.partition(":")[0]
    assert request_ in device.reason


def test_the_choice_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="rnnpipe.runtime"):
        resolve_device("auto", machine({}))
        resolve_device("auto", machine({"cuda": 1}))
    assert caplog.messages == [
        "device cpu, chosen by auto: no GPU was found",
        "device cuda:0, chosen by auto: the first of cuda:0, cpu",
    ]


@pytest.mark.parametrize(
    ("request_", "counts", "there"),
    [
        ("cuda", {}, "cpu"),
        ("cuda:2", {"cuda": 2}, "cuda:0, cuda:1, cpu"),
        ("mps", {"cuda": 1}, "cuda:0, cpu"),
        ("xpu:1", {"xpu": 1}, "xpu:0, cpu"),
    ],
)
def test_a_missing_device_is_named_with_what_is_there(request_: str, counts: dict[str, int], there: str) -> None:
    with pytest.raises(DeviceError) as caught:
        resolve_device(request_, machine(counts))
    assert caught.value.message == f"execution.device={request_} was asked for, but there is only {there}"
    assert "--set execution.device=auto" in caught.value.fix


def test_torch_is_asked_what_this_machine_has() -> None:
    device = resolve_device("auto")
    expected = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else CPU
    assert expected is not None
    assert device.kind == expected.type
    assert runtime.describe_device(CPU).startswith("cpu: ")


@pytest.mark.parametrize(
    ("request_", "bf16", "precision"),
    [
        ("fp32", True, "fp32"),
        ("bf16", True, "bf16"),
        ("auto", True, "fp32"),  # the compiled kernels are for fp32
        ("bf16", False, "fp32"),
        ("auto", False, "fp32"),
    ],
)
def test_bf16_only_where_the_device_has_it(request_: str, bf16: bool, precision: str) -> None:
    chosen, reason = choose_precision(CPU, request_, machine({}, bf16))
    assert chosen == precision
    assert reason.startswith(f"{precision}: ")
    assert ("no bf16" in reason) == (request_ == "bf16" and not bf16)


def test_auto_takes_bf16_where_its_accuracy_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "BF16_KEEPS_ACCURACY", frozenset({"cpu"}))
    assert choose_precision(CPU, "auto", machine({}, True))[0] == "bf16"
    assert choose_precision(CPU, "auto", machine({}, False))[0] == "fp32"


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"neon": True, "bf16": True}, "bf16"),
    ],
)
def test_cpu_bf16_is_read_from_its_instructions(
    capabilities: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_precision(CPU, "bf16")[0] == precision


@pytest.mark.parametrize("name", ["mps", "xpu:0"])
def test_devices_whose_bf16_is_unknown_stay_at_fp32(name: str) -> None:
    assert choose_precision(torch.device(name), "bf16")[0] == "fp32"


def test_autocast_changes_the_product_only_for_bf16() -> None:
    a, b = torch.ones(2, 2), torch.ones(2, 2)
    with runtime.autocast(CPU, "bf16"):
        assert (a @ b).dtype == torch.bfloat16
    with runtime.autocast(CPU, "fp32"):
        assert (a @ b).dtype == torch.float32


@pytest.mark.usefixtures("_restore_torch")
def test_a_seed_repeats_every_generator_and_forbids_the_undetermined() -> None:
    draws = []
    for _ in range(2):
        runtime.seed_everything(3)
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert draws[0] == draws[1]
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    smallest_normal = torch.finfo(torch.float32).tiny
    assert (torch.tensor([smallest_normal]) / 2).item() == 0


def test_threads_are_set_any_number_of_times_and_importing_sets_nothing() -> None:
    code = (
        "import torch; before = torch.get_num_threads(), torch.initial_seed();"
        "from rnnpipe import runtime;"
        "assert (torch.get_num_threads(), torch.initial_seed()) == before;"
        "assert not torch.are_deterministic_algorithms_enabled();"
        "runtime.set_threads(1); runtime.set_threads(2);"
        "assert (torch.get_num_threads(), torch.get_num_interop_threads()) == (2, 1)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_peak_memory_grows_with_use_and_the_cpu_needs_no_waiting() -> None:
    runtime.synchronize(CPU)
    before = runtime.peak_memory_mib(CPU)
    held = torch.ones(int(before + 64) * 2**18)  # 4 bytes each: 64 MiB more than ever before
    assert runtime.peak_memory_mib(CPU) >= before + 32
    assert held.numel()
