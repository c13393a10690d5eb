"""The machine a training runs on: device, precision, threads, seeds, clocks and memory."""

import contextlib
import logging
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from rnnpipe.errors import DeviceError

Precision = Literal["bf16", "fp32"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A device that is there, and the sentence that says why it was chosen."""

    name: str
    reason: str

    @property
    def torch(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.name)

    @property
    def kind(self) -> str:
        """The kind of device: cpu, cuda, mps or xpu."""
        return self.name.partition(":")[0]


def _count_devices(kind: str) -> int:
    counts = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count, "mps": torch.mps.device_count}
    return counts[kind]()


# Kinds of devices on which five seeds in bf16 stayed within the interval of fp32, and that fp32 serves worse.
# On a CPU lstm keeps its accuracy (benchmarks/accuracy.py), but most nets are faster by compiled kernels, in fp32.
BF16_KEEPS_ACCURACY: frozenset[str] = frozenset()


def _has_bf16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16; emulation, slower than float32, doesn't count."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


@dataclass(frozen=True)
class Probe:
    """What can be asked of a machine: the number of devices of a kind, and whether one has bfloat16."""

    count: Callable[[str], int] = _count_devices
    has_bf16: Callable[[torch.device], bool] = _has_bf16


TORCH_PROBE = Probe()


def resolve_device(request: str, probe: Probe = TORCH_PROBE) -> Device:
    """Return the device for auto, cpu, mps, cuda, cuda:1, xpu or xpu:0, and log why.

    auto prefers cuda, then xpu, then mps, then the CPU; cuda and xpu alone mean the first of their kind.
    Raises DeviceError if the device isn't there.
    """
    present = [f"{kind}:{index}" for kind in ("cuda", "xpu") for index in range(probe.count(kind))]
    present += ["mps"] * min(probe.count("mps"), 1) + ["cpu"]
    if request == "auto":
        found = f"the first of {', '.join(present)}" if len(present) > 1 else "no GPU was found"
        device = Device(present[0], f"chosen by auto: {found}")
    else:
        device = Device(f"{request}:0" if request in ("cuda", "xpu") else request, f"asked for as {request}")
    if device.name not in present:
        raise DeviceError(
            f"execution.device={request} was asked for, but there is only {', '.join(present)}",
            fix=f"--set execution.device=auto takes {present[0]}",
        )
    logger.info("device %s, %s", device.name, device.reason)
    return device


def describe_device(device: torch.device) -> str:
    """Return kind and model of a device, such as "cuda:0: NVIDIA L4"."""
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    if device.type == "xpu":
        return f"{device}: {torch.xpu.get_device_name(device)}"
    capabilities = torch.cpu.get_capabilities()
    return f"{device}: {capabilities.get('cpu_name', capabilities['architecture'])}"


def choose_precision(device: torch.device, request: str, probe: Probe = TORCH_PROBE) -> tuple[Precision, str]:
    """Return the precision for auto, bf16 or fp32, with the reason: bf16 only where the hardware has it.

    auto takes it on kinds of devices alone on which its accuracy is known to be that of fp32.
    """
    if request == "fp32":
        return "fp32", "fp32: asked for"
    if request == "auto" and device.type not in BF16_KEEPS_ACCURACY:
        return "fp32", f"fp32: on {device.type}, bf16 has to be asked for"
    if probe.has_bf16(device):
        return "bf16", f"bf16: {device} has it in hardware"
    return "fp32", f"fp32: {device} has no bf16 that is known to be fast and sound"


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which the forward pass and the loss run."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@dataclass
class _Threads:
    """The CPU threads of this process, as torch's own number is the process's."""

    number: int = 1
    in_kernels: bool = False

    def apply(self) -> None:
        torch.set_num_threads(1 if self.in_kernels else self.number)
        # torch takes the second number only before its first parallel work.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(1)


_threads = _Threads()


def set_threads(threads: int) -> None:
    """Use this many CPU threads within an operation, and one between operations."""
    _threads.number = threads
    _threads.apply()


def num_threads() -> int:
    """Return the number given to `set_threads`."""
    return _threads.number


def give_threads_to_kernels(in_kernels: bool) -> None:
    """Let the compiled kernels use the threads, and torch one; or torch all of them.

    torch's own threads spin for a while after each operation, on the cores that those of the kernels need.
    """
    _threads.in_kernels = in_kernels
    _threads.apply()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Use one CPU thread in the block: beside other work, two spend their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch on all devices, and allow deterministic operations only."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # cuBLAS reads this when it starts; without it deterministic matrix products are refused.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same as use_deterministic_algorithms(True), which would import torch's compiler: seconds.
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads memory that was never written; filling it costs an LSTM a sixth of its speed.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    # Saturated recurrent nets have denormal gradients, which cost a CPU a hundred times as long.
    torch.set_flush_denormal(True)


def seed_noise(device: torch.device, seed: int) -> None:
    """Seed what draws random numbers in an update, on the CPU and on this device.

    Not torch.manual_seed: it seeds every kind of device there could be, in a third of a millisecond, and where
    there is none it keeps each call in a list for later.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        module = torch.get_device_module(device)
        getattr(module, "manual_seed_all", module.manual_seed)(seed)  # of several, it needn't be the first


def synchronize(device: torch.device) -> None:
    """Wait for all work on a device, so that a clock read next is honest; the CPU has none outstanding."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def peak_memory_mib(device: torch.device) -> float:
    """Return the most memory used so far, in MiB: resident memory of this process for the CPU.

    torch keeps no peak for mps; there it is what the driver holds now.
    """
    if device.type == "cpu":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    return float(torch.accelerator.max_memory_allocated(device)) / 2**20
