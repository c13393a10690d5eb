"""A training on a node of a cluster: references are resolved in the node's own workspace, filled as needed.

The node has its own RNNPIPE_HOME: its store, downloads and locks. It gets images from the mirrors, makes sequences
of them, and compares the digests; the training of a killed node it takes over from the exchange. What it is
asked and answers is small JSON.
"""

import logging
import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, sequences_recipe
from rnnpipe.errors import (
    ClusterError,
    ConfigError,
    DataError,
    DeviceError,
    DownloadError,
    RnnpipeError,
    StorageError,
    explained,
)
from rnnpipe.exchange import Exchange, FilePlace, Listing
from rnnpipe.explanation import differences
from rnnpipe.files import read_json, remove_folder
from rnnpipe.handover import Handover
from rnnpipe.orders import Answer, Order, output_of, sequences_place
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.slots import PLACES, VISIBLE
from rnnpipe.references import Recipe
from rnnpipe.store import MANIFEST, Entry, Store, workspace_root
from rnnpipe.together import Announcement, take_part
from rnnpipe.training.job import TARGET, Part, collect, prepare, training_recipe

EXCHANGE_VARIABLE = "RNNPIPE_EXCHANGE"
MLFLOW = "mlflow-artifacts:"
FIX_CODE = "install the same rnnpipe and the same packages on every node"

logger = logging.getLogger(__name__)

# Mirrors and exchanges fail for moments; Ray itself tries again only where a node is gone.
again = retry(
    retry=retry_if_exception_type((StorageError, DownloadError)), wait=wait_exponential(multiplier=2, max=30),
    stop=stop_after_attempt(5), reraise=True,
)  # fmt: skip


def open_exchange(url: str) -> Exchange:
    """Return the exchange at a URL; "" stands for RNNPIPE_EXCHANGE. ConfigError where there is none."""
    url = url or os.environ.get(EXCHANGE_VARIABLE, "")
    if not url:
        raise ConfigError(
            "execution.ray.exchange = null: there is no place where nodes could leave what they make",
            f"name one that every machine reaches, such as s3://bucket/folder, there or in {EXCHANGE_VARIABLE}",
        )
    if not url.startswith(MLFLOW):
        return Exchange(FilePlace(url), url)
    from rnnpipe.tracking.exchange import MlflowPlace  # brings mlflow

    return Exchange(MlflowPlace(url), url)


def must_be_sent(config: PipelineConfig) -> bool:
    """Say whether a node can't get the data by itself: they are files of the driver's machine."""
    return config.data.folder is not None or config.data.file is not None


def train_on_node(order: str, host: str) -> str:
    """Do the training of an order (JSON) and return the answer (JSON); what stopped it is told in it.

    `host` is the address by which other nodes reach this one.
    """
    asked, node = Order.model_validate_json(order), platform.node()
    try:
        answer = Answer(node=node, output=_train(asked, host))
    except Exception as raised:
        error = explained(raised)
        if not isinstance(error, RnnpipeError):
            raise
        answer = Answer(node=node, error=type(error).__name__, message=error.message, fix=error.fix)
    return answer.model_dump_json()


def _train(asked: Order, host: str) -> Listing:
    exchange = open_exchange(asked.exchange)
    if done := again(exchange.find)(output_of(asked.place)):
        return done
    sequences = _sequences(Store.of_workspace(), exchange, asked)
    variant = asked.config.variants[asked.variant]
    _compare(training_recipe(sequences.ref, asked.config, variant, asked.seed), asked.recipe)
    task = NodeTask(asked, exchange, sequences.path, host)
    if asked.node:
        return take_part(exchange, asked, task.work)
    own = Store(workspace_root() / "node")  # the driver may have this very workspace, and waits there
    entry = own.ensure(asked.recipe, task.lead, asked.run)
    output = _send(exchange, asked.place, entry)
    remove_folder(entry.path)
    return output


@dataclass(frozen=True)
class NodeTask:
    """What a node does for a training, whose sequences it has in a folder."""

    asked: Order
    exchange: Exchange
    sequences: Path
    host: str

    def lead(self, folder: Path) -> dict[str, Any]:
        """Train in a folder, from what others left, and leave checkpoints for others; return the facts."""
        handover = Handover(self.exchange, self.asked.place, folder)
        again(handover.take)()
        announcement = Announcement(self.exchange, self.asked, folder)

        def tell() -> None:
            announcement.tell()
            handover.leave()

        try:
            self.work(folder, "", tell)
        except BaseException:  # asked to stop, it has left a checkpoint of the update under way
            handover.leave_at_last()
            raise
        announcement.end()
        return collect(folder)

    def work(self, folder: Path, leader: str, while_waiting: Callable[[], None]) -> None:
        """Have processes train, for another node if it is the `leader`; ClusterError where that is gone."""
        asked, config = self.asked, self.asked.config
        nodes = config.execution.ray.nodes
        host = self.host if nodes > 1 else ""  # alone it stays on loopback
        part = Part(node=asked.node, nodes=nodes, host=host, leader=leader)
        prepare(
            folder, self.sequences, config=config, variant=asked.variant, seed=asked.seed, run=asked.run, part=part
        )
        _launcher_for(config).run(
            TARGET, folder, timeout_s=config.execution.timeout_s, while_waiting=while_waiting,
            on_busy=lambda held: _waits(held, config),
        )  # fmt: skip


@again
def _send(exchange: Exchange, place: str, entry: Entry) -> Listing:
    return send(exchange, output_of(place), entry)


def send(exchange: Exchange, folder: str, entry: Entry) -> Listing:
    """Leave all files of a stage's output in the exchange, with its facts; nothing is sent twice."""
    return exchange.put(folder, entry.path, read_json(entry.path / MANIFEST)["files"], entry.ref.facts)


@again
def _sequences(store: Store, exchange: Exchange, asked: Order) -> Entry:
    """Return the sequences: those that are here, that the driver has sent, or made of images from a mirror."""
    try:
        return store.resolve(asked.sequences)
    except FileNotFoundError:
        logger.info("the sequences aren't in %s: they are made", store.root)
    config, place = asked.config, sequences_place(asked.sequences)
    if sent := exchange.find(place):

        def fetch(folder: Path) -> dict[str, Any]:
            exchange.fetch(place, sent, folder)
            return sent.facts

        entry = store.ensure(asked.sequences_recipe, fetch, asked.run)
    else:
        downloads = workspace_root() / "downloads"
        images = store.ensure(
            dataset_recipe(config.data), lambda folder: build_dataset(config.data, downloads, folder), asked.run
        )
        recipe = sequences_recipe(images.ref, config.data, config.sequence)
        _compare(recipe, asked.sequences_recipe)
        entry = store.ensure(
            recipe, lambda folder: build_sequences(images, config.data, config.sequence, folder), asked.run
        )
    if entry.ref.digest != asked.sequences.digest:
        raise DataError(
            f"{config.sequence.name} of {config.data.name}: the SHA-256 is {entry.ref.digest[:12]}… here,"
            f" {asked.sequences.digest[:12]}… where the run was started",
            FIX_CODE,
        )
    return entry


def _compare(own: Recipe, asked: Recipe) -> None:
    """Raise ClusterError where this machine would make something else: other code, another torch."""
    if own.key != asked.key:
        found = ", ".join(differences(asked.inputs, own.inputs))
        raise ClusterError(f"this node would make other {asked.stage}: {found}", FIX_CODE)


def _launcher_for(config: PipelineConfig) -> Launcher:
    """Return a launcher whose trainings see the GPUs that Ray gave this task, and know how many share one."""
    gpus = config.execution.ray.gpus
    visible = os.environ.get(VISIBLE, "") if gpus else ""  # "": none is seen, so that none is used uncounted
    os.environ |= {VISIBLE: visible, PLACES: str(math.floor(1 / gpus) if gpus else 1)}
    return _launcher(visible, os.environ[PLACES])


@cache
def _launcher(visible: str, places: str) -> Launcher:
    """Return this process' launcher for such trainings; it ends with the process."""
    return Launcher(["rnnpipe.training.work"])


def _waits(held: str, config: PipelineConfig) -> None:
    if config.execution.when_busy == "give-up":
        fix = "run it again later, or let it wait: --set execution.when_busy=wait"
        raise DeviceError(f"the training would have to wait for {held}", fix)
    logger.warning("a training waits for %s", held)
