"""Several processes that make each update together: each takes a part of the batch, and all make the same step.

The order of the images is that of one process. Source: S. Li et al., “PyTorch Distributed: Experiences on
Accelerating Data Parallel Training”, 2020.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from rnnpipe.runtime import Device

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
Result = TypeVar("Result")


def team_devices(device: Device, processes: int) -> list[Device]:
    """Return the device of each process of a team: a GPU of its own, counted from the first, or the same CPU."""
    if processes == 1 or device.kind not in ("cuda", "xpu"):
        return [device] * processes
    return [
        Device(f"{device.kind}:{rank}", f"{device.reason}; {processes} processes") for rank in range(processes)
    ]


class Team:
    """A process that trains alone: the whole batch is its part."""

    rank, size = 0, 1
    noise: tuple[int, ...] = ()  # what makes this process's dropout another than the others'

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes the journal and saves."""
        return self.rank == 0

    def join(self, network: nn.Module) -> nn.Module:
        """Return what maps a part of a batch to logits, so that gradients become those of the whole batch."""
        return network

    def part(self, batch: int) -> slice:
        """Return which images of a batch are this process's."""
        return slice(None)

    def weighted(self, loss: Tensor, images: int, batch: int) -> Tensor:
        """Return the mean loss over this process's images so that its mean over the team is that of the batch."""
        return loss

    def whole(self, loss: Tensor) -> Tensor:
        """Return the mean loss over the batch, given each process's weighted one."""
        return loss

    def told(self, values: list[float]) -> list[float]:
        """Return what the leading process gives, in all."""
        return values

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """Do something to shared files: the leading process first."""
        return work()


class ProcessTeam(Team):
    """One of several processes: gloo between CPUs, nccl between GPUs.

    They find each other through a file, so that nobody else does.
    """

    def __init__(self, device: torch.device, rank: int, size: int, meeting: Path) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.noise = (rank,) if rank else ()
        backend = "nccl" if device.type == "cuda" else "gloo"
        os.environ.setdefault(f"{backend.upper()}_SOCKET_IFNAME", LOOPBACK)  # else the first that has a network
        store = FileStore(str(meeting), size)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)

    def join(self, network: nn.Module) -> nn.Module:
        """Return the net within torch's own, which averages gradients over the team while they arise."""
        return DistributedDataParallel(network)

    def part(self, batch: int) -> slice:
        """Return this process's images: as many as the others', or one more; of fewer than processes, all."""
        if batch < self.size:
            return slice(None)
        fewest, more = divmod(batch, self.size)
        start = self.rank * fewest + min(self.rank, more)
        return slice(start, start + fewest + (self.rank < more))

    def weighted(self, loss: Tensor, images: int, batch: int) -> Tensor:
        """Return the loss times size * images / batch; where all have the whole batch, as it is."""
        return loss if images == batch else loss * (self.size * images / batch)

    def whole(self, loss: Tensor) -> Tensor:
        """Return the mean over the team."""
        total = loss.clone()
        distributed.all_reduce(total)
        return total / self.size

    def told(self, values: list[float]) -> list[float]:
        """Return the leader's values."""
        tensor = torch.tensor(values, dtype=torch.float64 if self.device.type == "cpu" else torch.float32)
        tensor = tensor.to(self.device)
        distributed.broadcast(tensor, src=0)
        found: list[float] = tensor.tolist()
        return found

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """Do something first in the leading process, then in the others."""
        if not self.leads:
            self.told([0.0])
        result = work()
        if self.leads:
            self.told([0.0])
        return result


ALONE = Team()
