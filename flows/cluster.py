"""Trainings as tasks of a Ray cluster: one that runs already, or one that is started on this machine for a run.

Ray decides on which node a training runs, and runs it again elsewhere when a node dies. Files go through the
exchange, and only JSON goes through Ray. The run that started them follows their journals there, so that Prefect,
MLflow and the terminal show what they would of trainings beside it, and no node needs to reach these.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.engine import INSTALL, Work
from flows.gang import GRACE_S, Gang
from rnnpipe.config import PipelineConfig, RayConfig
from rnnpipe.errors import ClusterError, ConfigError, DeviceError, StorageError, TrainingError
from rnnpipe.exchange import Listing
from rnnpipe.files import read_json, scratch_folder
from rnnpipe.handover import Handover, Mirror, show
from rnnpipe.nodes import must_be_sent, open_exchange, send
from rnnpipe.orders import Order, output_of, sequences_place
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.references import Recipe
from rnnpipe.store import MANIFEST, Entry, Store
from rnnpipe.training.journal import JOURNAL_FILE, JournalReader
from rnnpipe.training.supervise import OnBusy, OnEvents

POLL_S = 0.5
LOOK_S = 2.0  # between looks at a journal in the exchange
OBJECT_STORE_BYTES = 100 << 20  # nothing but small JSON passes through it
KNOCK_S = 10.0
GIB = 1 << 30
OF_OURS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # to loopback, as on the systems it is named for
    "RAY_worker_niceness": "0",  # Ray's own 15 would let anything else that runs come first
}

logger = logging.getLogger("rnnpipe.cluster")


class RayEngine:
    """Trains on the nodes of a Ray cluster."""

    def __init__(self, config: PipelineConfig, store: Store, exchange_url: str) -> None:
        """Connect to the config's cluster, or start one; DeviceError where it can't be reached."""
        self._store, self._url = store, exchange_url
        self._exchange, self._config, self._needs = open_exchange(exchange_url), config, needs_of(config)
        self._ray, self._is_ours = connect(config.execution.ray)
        self._under_way: set[Gang] = set()
        self._sent, self._sending = set[str](), threading.Lock()
        self._closing, self._lock = threading.Event(), threading.Lock()

    def train(self, work: Work, *, on_events: OnEvents, on_busy: OnBusy) -> Entry:
        """Return the trained model, trained on a node if it isn't stored: see `train_supervised`."""
        order = self._order(work)

        def build(folder: Path) -> dict[str, Any]:
            self._look_for_room(on_busy)
            Handover(self._exchange, order.place, folder).offer()
            mirror, reader = Mirror(self._exchange, order.place, folder), JournalReader(folder)

            def follow() -> None:
                mirror.look()
                on_events(folder, reader.new_events())

            output = self._result(order, follow)
            self._bring(order, output, folder)
            on_events(folder, reader.new_events())
            return output.facts

        entry = self._store.ensure(work.recipe, build, work.run)
        try:  # the output first: what is half removed must not pass for a training that has ended
            self._exchange.remove(output_of(order.place))
            self._exchange.remove(order.place)
        except StorageError as error:
            logger.warning("%s; what nodes left of a training stays there", error.message)
        return entry

    def _order(self, work: Work) -> Order:
        """Return what a node is told; what no node could get is sent before."""
        sequences = self._store.resolve(work.sequences)
        manifest = read_json(sequences.path / MANIFEST)
        if must_be_sent(work.config):
            with self._sending:
                if work.sequences.key not in self._sent:
                    send(self._exchange, sequences_place(work.sequences), sequences)
                    self._sent.add(work.sequences.key)
        return Order(
            config=work.config, variant=work.variant, seed=work.seed, run=work.run, sequences=work.sequences,
            sequences_recipe=Recipe(**{name: manifest[name] for name in Recipe.model_fields}), recipe=work.recipe,
            exchange=self._url,
        )  # fmt: skip

    def _result(self, order: Order, follow: Callable[[], None]) -> Listing:
        """Have nodes do it and wait; what a node tells as an error is raised here."""
        gang = Gang(self._ray, order, self._needs)
        with self._lock:
            self._under_way.add(gang)
        looked = time.monotonic()
        try:
            while (found := gang.result(POLL_S)) is None:
                if self._closing.is_set():
                    raise TrainingError("trainings are being stopped", "run the same command again: it goes on")
                if time.monotonic() - looked > LOOK_S:
                    follow()
                    looked = time.monotonic()
            return found
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ClusterError(
                f"the cluster could not do it: {type(error).__name__}: {reason}",
                "see the nodes' logs; run it again, and it goes on from the last checkpoint",
            ) from error
        finally:
            gang.end()
            with self._lock:
                self._under_way.discard(gang)

    def _bring(self, order: Order, output: Listing, folder: Path) -> None:
        """Make a folder hold what a node has made, and nothing else."""
        place = output_of(order.place)
        with scratch_folder() as scratch:
            self._exchange.fetch(place, output, scratch, [JOURNAL_FILE])
            show(scratch / JOURNAL_FILE, folder / JOURNAL_FILE)
        self._exchange.fetch(place, output, folder)
        for path in folder.rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in output.files:
                path.unlink()

    def places(self) -> int:
        """Return for how many trainings the nodes that are there have room."""
        room = (
            min(int(node.get(name, 0) // needed) for name, needed in self._needs.items() if needed)
            for node in self._nodes()
        )
        return max(1, sum(room) // self._config.execution.ray.nodes)

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _look_for_room(self, on_busy: OnBusy) -> None:
        """Say what is missing where too few nodes are large enough; DeviceError where none can come."""
        nodes, wanted_nodes = self._nodes(), self._config.execution.ray.nodes
        fitting = [
            node for node in nodes if all(node.get(name, 0) >= needed for name, needed in self._needs.items())
        ]
        if len(fitting) >= wanted_nodes:
            return
        wanted, there = _in_words(self._needs), "; ".join(map(_in_words, nodes)) or "none"
        if self._is_ours and wanted_nodes > 1:
            raise DeviceError(
                f"a training is to be shared by {wanted_nodes} nodes, and this machine is one",
                "name a larger cluster in execution.ray.address, or set execution.ray.nodes to 1",
            )
        if self._is_ours:
            raise DeviceError(
                f"a training is to get {wanted}, and this machine has {there}",
                "lower execution.ray.cpus, gpus or memory_gib, or name a larger cluster in execution.ray.address",
            )
        many = "a node" if wanted_nodes == 1 else f"{wanted_nodes} nodes"
        on_busy(f"{many} with {wanted}; those of the cluster have {there}")

    def close(self) -> None:
        """Stop what is under way, wait until checkpoints are left, and leave the cluster or end ours."""
        self._closing.set()
        with self._lock:
            left = list(self._under_way)
        for gang in left:
            gang.cancel()
        if references := [gang.references[0] for gang in left]:
            with contextlib.suppress(Exception):
                self._ray.wait(references, num_returns=len(references), timeout=GRACE_S)
        self._ray.shutdown()


def needs_of(config: PipelineConfig) -> dict[str, float]:
    """Return what a training of a config gets of its node, as Ray names it; memory in bytes."""
    options = config.execution.ray
    needs: dict[str, float] = {"CPU": options.cpus or config.execution.cpus_of_node, "GPU": options.gpus}
    return {**needs, "memory": int(options.memory_gib * GIB)} if options.memory_gib else needs


def connect(options: RayConfig) -> tuple[Any, bool]:
    """Return Ray, connected to a cluster, and whether that was started here; DeviceError where it can't be had."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    if options.address is None:
        for name, value in OF_OURS.items():
            os.environ.setdefault(name, value)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if options.address:
            _knock(options.address)
            ray.init(options.address, **quiet)
        else:
            ray.init(
                "local", num_cpus=cpu_cores(), include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES,
                **quiet,
            )  # fmt: skip
    except ImportError as error:  # of ray:// alone
        raise ConfigError(f"execution.ray.address = {options.address}: {error}", INSTALL) from error
    except (OSError, RuntimeError, ValueError) as error:
        place = f"the Ray cluster at {options.address}" if options.address else "a Ray cluster on this machine"
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(
            f"{place} can't be reached: {reason}", "see `ray status`; execution.ray.address names it"
        ) from error
    return ray, options.address is None


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:  # "auto" has none
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


def _in_words(resources: dict[str, float]) -> str:
    """Return what of a node's resources trainings ask for, such as "4 CPUs, 1 GPU, 15.5 GiB"."""
    cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
    parts = [f"{cpus:g} CPU{'' if cpus == 1 else 's'}", f"{gpus:g} GPU{'' if gpus == 1 else 's'}"]
    if "memory" in resources:
        parts.append(f"{resources['memory'] / GIB:.1f} GiB of memory")
    return ", ".join(parts)
