"""On what trainings run: the device and how it is used, on this machine or on the nodes of a Ray cluster."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rnnpipe.config.fields import Clash, ClusterAddress, DeviceName, Section, SharedPlace, Threads

# Of ExecutionConfig: what can change the bits of a result. The engine can't.
DECIDING = frozenset({"device", "threads", "processes", "precision", "kernels"})
NO_KERNELS = "no kernels: "  # what a reason says where they would fit, and can't be had


class RayConfig(Section):
    """The cluster for `engine: ray`, and what each training gets of a node."""

    address: ClusterAddress | None = Field(
        None,
        description="Running cluster: HOST:PORT, ray://HOST:PORT or auto; null = one started on this machine.",
    )
    cpus: int | None = Field(
        None, ge=1, le=1024, description="CPUs a training gets of its node; null = one a thread."
    )
    gpus: float = Field(
        0.0,
        ge=0,
        le=1,
        description="GPUs a training gets (0 to 1): 1 = one to itself, 0.5 = two trainings share one, 0 = none.",
    )
    memory_gib: float | None = Field(
        None, gt=0, le=65_536, description="GiB of memory a training gets of its node; null = it isn't counted."
    )
    nodes: int = Field(
        1,
        ge=1,
        le=64,
        description="Nodes that share each training's `execution.processes`, as many on each; cpus, gpus and"
        " memory_gib are then those of each node.",
    )
    exchange: SharedPlace | None = Field(
        None,
        description="Where nodes leave checkpoints and results: a path or URL that all of them reach (fsspec), or"
        " mlflow-artifacts:/PATH; null: RNNPIPE_EXCHANGE, else the workspace's for a cluster started here.",
    )


class ExecutionConfig(Section):
    """On what it runs. Device, threads and kernels change the last bits of a result; the engine doesn't."""

    engine: Literal["local", "ray"] = Field(
        "local", description="Where trainings run: local, this machine; ray, the nodes of a Ray cluster."
    )
    device: DeviceName = Field("auto", description="auto, cpu, cuda, cuda:1, mps or xpu.")
    threads: Threads = Field(
        1,
        description="CPU threads of each training (1 to 1024), as many run at once as the cores allow; or auto:"
        " the fastest number, measured, within the training's share of the cores.",
    )
    processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that make each update of a training together, each with a part of the batch and as"
        " many threads as `threads` says, or a GPU of its own: for nets too large for one (1 to 64).",
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32",
        description="fp32; bf16 autocast where the device has it, else fp32; auto: bf16 only where its accuracy is"
        " known to be that of fp32 and nothing in fp32 is as fast, which so far is nowhere.",
    )
    kernels: Literal["auto", "torch", "compiled"] = Field(
        "auto",
        description="Recurrent layers on a CPU in fp32: torch's own, or rnnpipe's, which a C compiler makes at"
        " first use; auto: compiled where that can be done.",
    )
    timeout_s: float | None = Field(
        None, gt=0, le=1e7, description="Seconds after which one training is stopped; null = never."
    )
    checkpoint_every_s: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="Seconds between a training's checkpoints; there is one at each epoch's end as well.",
    )
    when_busy: Literal["wait", "give-up"] = Field(
        "wait", description="While another run holds the device: wait for its turn, or give up at once."
    )
    ray: RayConfig = Field(default_factory=RayConfig, description="The cluster, for `engine: ray`.")

    def threads_within(self, cores: int) -> int:
        """Return the number of threads asked for; with auto, the most there may be: so many cores."""
        return cores if self.threads == "auto" else self.threads

    @property
    def cpus_of_node(self) -> int:
        """How many threads a training has on each node of a cluster."""
        return self.threads_within(1) * (self.processes // self.ray.nodes)

    def clashes(self) -> Iterator[Clash]:
        """Yield what several processes can't do, and what Ray can't be asked for."""
        if self.processes > 1 and self.threads == "auto":
            yield Clash(("threads", "processes"), "several processes need a number of threads each; set one")
        if self.processes > 1 and ":" in self.device:
            reason = f"one device can't be shared; `device: {self.device.partition(':')[0]}` takes the first ones"
            yield Clash(("device", "processes"), reason)
        if self.engine == "ray":
            yield from self._clashes_with_ray()

    def _clashes_with_ray(self) -> Iterator[Clash]:
        kind, _, number = self.device.partition(":")
        if self.processes % self.ray.nodes:
            reason = "each node has as many of the processes; give a multiple of the nodes"
            yield Clash(("processes", "ray.nodes", "engine"), reason)
        if self.threads == "auto":
            reason = "Ray has to know the CPUs before anything is measured; with `engine: ray` give a number"
            yield Clash(("threads", "engine"), reason)
        elif self.ray.cpus is not None and self.ray.cpus < self.cpus_of_node:
            reason = f"{self.cpus_of_node} threads on a node need as many CPUs; raise it, or leave it at null"
            yield Clash(("ray.cpus", "threads", "engine"), reason)
        if number:
            reason = f"Ray numbers the GPUs that it gives a training anew; with `engine: ray` use `device: {kind}`"
            yield Clash(("device", "engine"), reason)
        if kind in ("cuda", "xpu") and not self.ray.gpus:
            reason = f"`device: {self.device}` needs a GPU, or a share of one; set it above 0, such as 1 or 0.5"
            yield Clash(("ray.gpus", "device", "engine"), reason)
        if self.ray.gpus and self.processes > self.ray.nodes:
            reason = f"a training gets one GPU of a node; with {self.processes} processes it takes as many nodes"
            yield Clash(("ray.nodes", "processes", "engine"), reason)
        if kind in ("cpu", "mps") and self.ray.gpus:
            reason = f"`device: {self.device}` would leave Ray's GPU unused; use auto or cuda, or set it to 0"
            yield Clash(("ray.gpus", "device", "engine"), reason)
