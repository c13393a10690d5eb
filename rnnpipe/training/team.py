"""Several processes that make each update together: each takes a part of the batch, and all make the same step.

The order of the images is that of one process. Source: S. Li et al., “PyTorch Distributed: Experiences on
Accelerating Data Parallel Training”, 2020.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rnnpipe.runtime import Device
from rnnpipe.training.checkpoint import put_checkpoint, take_checkpoint
from rnnpipe.training.job import Part
from rnnpipe.training.meeting import interface_of, store_at

PATIENCE = timedelta(minutes=30)  # with what another process does, such as validation
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

    def in_turn(self, work: Callable[[], Result], folder: Path) -> Result:
        """Do something to a training's folder: the leading process first; all find its newest checkpoint there."""
        return work()


@dataclass(frozen=True)
class Member:
    """Which process of a training this is: the place on its node, of how many there, and of which node."""

    place: int
    processes: int
    part: Part

    @property
    def rank(self) -> int:
        """The place among the processes of all nodes."""
        return self.part.node * self.processes + self.place

    @property
    def size(self) -> int:
        """How many processes there are on all nodes."""
        return self.part.nodes * self.processes


class ProcessTeam(Team):
    """One of several processes: gloo between CPUs, nccl between GPUs. They find each other at a meeting."""

    def __init__(self, device: torch.device, member: Member, meeting: str) -> None:
        self.rank, self.size, self.device, self._member = member.rank, member.size, device, member
        self.noise = (self.rank,) if self.rank else ()
        backend = "nccl" if device.type == "cuda" else "gloo"
        if interface := interface_of(member.part.host):  # else it takes the first that has a network
            os.environ.setdefault(f"{backend.upper()}_SOCKET_IFNAME", interface)
        store = store_at(meeting, self.size)
        distributed.init_process_group(
            backend, store=store, rank=self.rank, world_size=self.size, timeout=PATIENCE
        )

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

    def in_turn(self, work: Callable[[], Result], folder: Path) -> Result:
        """Do something in the leading process, give its newest checkpoint to other nodes' folders, do it there."""
        done = [work()] if self.leads else []
        if self._member.part.nodes > 1:
            self._hand_out(folder)
        self._wait_for_all()
        found = done[0] if done else work()
        self._wait_for_all()  # the leading process may soon write there again
        return found

    def _wait_for_all(self) -> None:
        self.whole(torch.zeros(1, device=self.device))

    def _hand_out(self, folder: Path) -> None:
        """Make each node's folder hold the checkpoint that the leading process's does, and its journal."""
        content = safetensors.torch.save(take_checkpoint(folder)) if self.leads else b""
        length = torch.tensor([len(content)], device=self.device)
        distributed.broadcast(length, src=0)
        packed = torch.frombuffer(bytearray(content or int(length)), dtype=torch.uint8).to(self.device)
        distributed.broadcast(packed, src=0)
        if self._member.part.node and not self._member.place:
            put_checkpoint(folder, safetensors.torch.load(packed.cpu().numpy().tobytes()))


ALONE = Team()
