"""A training that two nodes share: what comes out is what two processes of one machine make, whoever dies."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from workspaces import TINY, store_data

from rnnpipe import nodes, together
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrainingError
from rnnpipe.exchange import Listing
from rnnpipe.files import read_json
from rnnpipe.nodes import open_exchange, train_on_node
from rnnpipe.orders import Answer, Order, output_of
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.slots import PLACES, VISIBLE, cpu_cores
from rnnpipe.references import Recipe
from rnnpipe.store import MANIFEST, Store, workspace_root
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import JOURNAL_FILE, epochs_of, read_journal
from rnnpipe.training.supervise import train_supervised

pytestmark = pytest.mark.skipif(cpu_cores() < 2, reason="two processes need two cores")

LOOPBACK, SEED, TOGETHER_WITHIN_S = "127.0.0.1", 3, 120
EXECUTION = {"device": "cpu", "processes": 2, "checkpoint_every_s": 1.0}


def config_of(epochs: int, **execution: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({
        **TINY,
        "variants": [{"name": "gru", "hidden_size": 8, "num_layers": 1}],
        "training": {"epochs": epochs, "batch_size": 7, "learning_rate": 0.003, "preflight": False},
        "execution": {**EXECUTION, **execution},
    })  # fmt: skip


class Shared:
    """Two nodes, in threads of this process; each has a fork server of its own."""

    def __init__(self, root: Path, epochs: int, patch: pytest.MonkeyPatch) -> None:
        self.root, self.epochs = root, epochs
        self.launchers = {name: Launcher(["rnnpipe.training.work"]) for name in ("leads", "lends")}
        role = threading.local()
        patch.setattr(nodes, "_launcher_for", lambda config: self.launchers[role.name])
        self._role = role
        self.sequences = store_data(Store.of_workspace(), config_of(epochs), "r")[1]
        config = config_of(epochs, engine="ray", ray={"nodes": 2})
        manifest = read_json(self.sequences.path / MANIFEST)
        self.order = Order(
            config=config, variant=0, seed=SEED, run="r", sequences=self.sequences.ref,
            sequences_recipe=Recipe(**{name: manifest[name] for name in Recipe.model_fields}),
            recipe=training_recipe(self.sequences.ref, config, config.variants[0], SEED),
            exchange=str(root / "exchange"),
        )  # fmt: skip

    def run(self, name: str) -> Listing:
        """Be one of the nodes; where its process is lost, as the cluster does: begin again."""
        self._role.name = name
        asked = self.order.model_copy(update={"node": int(name == "lends")}).model_dump_json()
        while True:
            answer = Answer.model_validate_json(train_on_node(asked, LOOPBACK))
            if "killed" not in answer.message:
                return answer.result()

    def alone(self) -> dict[str, str]:
        """Return the files that two processes of one machine make."""
        config = config_of(self.epochs)
        recipe = training_recipe(self.sequences.ref, config, config.variants[0], SEED)
        assert recipe.key == self.order.recipe.key
        job = {"config": config, "variant": 0, "seed": SEED, "sequences_folder": self.sequences.path}
        entry = train_supervised(
            self.launchers["leads"], Store(self.root / "alone"), recipe, job=job, run="r",
            on_events=lambda folder, events: None,
        )  # fmt: skip
        files: dict[str, str] = read_json(entry.path / MANIFEST)["files"]
        return files

    def processes(self, name: str) -> list[list[psutil.Process]]:
        """Return a node's processes: its jobs, and those that train."""
        server = self.launchers[name]._server
        jobs = psutil.Process(server.pid).children() if server else []
        return [jobs, [each for job in jobs for each in job.children()]]

    def epochs_made(self) -> int:
        journals = (workspace_root() / "node").glob(f"trainings/*/{JOURNAL_FILE}")
        return max((len(epochs_of(read_journal(each.parents[1]))) for each in journals), default=0)


@pytest.fixture
def make_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in (VISIBLE, PLACES):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RNNPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RNNPIPE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(together, "POLL_S", 0.1)
    made: list[Shared] = []

    def make(epochs: int) -> Shared:
        made.append(Shared(tmp_path, epochs, monkeypatch))
        return made[-1]

    yield make
    for shared in made:
        for launcher in shared.launchers.values():
            launcher.close()


def without_logs(files: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if not name.startswith("log/")}


@contextlib.contextmanager
def both(shared: Shared) -> Iterator[tuple[Future[Listing], Future[Listing]]]:
    """Have both nodes at work; who only lends processes goes, at the latest, when the block ends."""
    with ThreadPoolExecutor(2) as pool:
        led, lent = (pool.submit(shared.run, name) for name in ("leads", "lends"))
        try:
            yield led, lent
        finally:
            exchange, place = open_exchange(shared.order.exchange), output_of(shared.order.place)
            if exchange.find(place) is None:
                exchange.put(place, shared.root, [], {})


def train(shared: Shared, meanwhile: Any = lambda: None) -> Listing:
    with both(shared) as (leading, lending):
        meanwhile()
        led, lent = leading.result(TOGETHER_WITHIN_S), lending.result(TOGETHER_WITHIN_S)
    assert not lent.files
    assert open_exchange(shared.order.exchange).find(output_of(shared.order.place)) == led
    assert "log/meeting.json" not in led.files
    return led


def test_two_nodes_make_what_two_processes_of_one_make(make_shared: Any) -> None:
    shared = make_shared(2)
    led = train(shared)
    assert "weights.safetensors" in led.files and without_logs(led.files) == without_logs(shared.alone())
    assert led.facts["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "level"),
    [
        pytest.param("leads", 0, id="the leading node"),
        pytest.param("leads", 1, id="a process of it"),
        pytest.param("lends", 0, id="another node"),
        pytest.param("lends", 1, id="a process of that"),
    ],
)
def test_where_a_node_or_its_process_is_killed_they_end_with_the_same_bytes(
    make_shared: Any, name: str, level: int, tmp_path: Path
) -> None:
    shared = make_shared(20)

    def kill() -> None:
        until_s = time.monotonic() + TOGETHER_WITHIN_S
        while shared.epochs_made() < 3:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        for process in shared.processes(name)[level]:
            os.kill(process.pid, signal.SIGKILL)

    led = train(shared, kill)
    assert without_logs(led.files) == without_logs(shared.alone())
    exchange = open_exchange(shared.order.exchange)
    exchange.fetch(output_of(shared.order.place), led, tmp_path / "got", [JOURNAL_FILE])
    assert [event["step"] > 0 for event in read_journal(tmp_path / "got") if event["event"] == "resumed"] == [True]


def test_what_the_leading_node_finds_is_told(make_shared: Any) -> None:
    shared = make_shared(40)
    wild = {"learning_rate": 10, "optimizer": "sgd", "momentum": 0.99, "gradient_clip_norm": None, "batch_size": 4}
    training = shared.order.config.training.model_copy(update=wild)
    variants = [{"name": "rnn", "hidden_size": 64, "nonlinearity": "relu"}]
    config = PipelineConfig.model_validate(
        {**shared.order.config.as_json(), "training": training.model_dump(), "variants": variants}
    )
    recipe = training_recipe(shared.sequences.ref, config, config.variants[0], SEED)
    shared.order = shared.order.model_copy(update={"config": config, "recipe": recipe})
    with both(shared) as (led, lent):
        with pytest.raises(TrainingError, match=r"the loss became|weights became"):
            led.result(TOGETHER_WITHIN_S)
        assert not lent.done(), "it waits for another node to lead, until the cluster ends it"
    assert lent.result() == Listing(files={}, facts={})
