"""A training on a node with a workspace of its own: what it gets and makes, and what another node goes on with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workspaces import TINY, store_data

from rnnpipe import nodes
from rnnpipe.config import PipelineConfig
from rnnpipe.errors import DataError, RnnpipeError, TrainingError
from rnnpipe.exchange import FilePlace, Listing
from rnnpipe.files import read_json
from rnnpipe.handover import Handover
from rnnpipe.nodes import open_exchange, send, train_on_node
from rnnpipe.orders import Answer, Order, output_of, sequences_place
from rnnpipe.processes.slots import PLACES, VISIBLE
from rnnpipe.references import Recipe
from rnnpipe.store import MANIFEST, Entry, Store
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import JOURNAL_FILE, JournalReader
from rnnpipe.training.supervise import train_supervised

LOOPBACK = "127.0.0.1"
TRAINING = {"epochs": 16, "batch_size": 8, "learning_rate": 0.003, "preflight": False}
CONFIG = PipelineConfig.model_validate(
    {
        **TINY,
        "variants": [{"name": "gru", "hidden_size": 8, "num_layers": 1}],
        "training": TRAINING,
        "execution": {"device": "cpu", "engine": "ray", "checkpoint_every_s": 0.05},
    }
)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    """The sequences, where the run was started."""
    return store_data(Store(tmp_path_factory.mktemp("driver")), CONFIG, "r")[1]


@pytest.fixture(autouse=True)
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (VISIBLE, PLACES):
        monkeypatch.setenv(name, "")  # so that they are afterwards as before
    monkeypatch.setenv("RNNPIPE_LOCKS", str(tmp_path / "locks"))
    enter(tmp_path / "node", monkeypatch)
    yield
    nodes._launcher("", "1").close()
    nodes._launcher.cache_clear()


def enter(home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("RNNPIPE_HOME", str(home))


def order(sequences: Entry, exchange: Path, **changes: Any) -> Order:
    manifest = read_json(sequences.path / MANIFEST)
    values = {
        "config": CONFIG, "variant": 0, "seed": 3, "run": "r", "sequences": sequences.ref,
        "sequences_recipe": Recipe(**{name: manifest[name] for name in Recipe.model_fields}),
        "recipe": training_recipe(sequences.ref, CONFIG, CONFIG.variants[0], 3), "exchange": str(exchange),
    }  # fmt: skip
    return Order.model_validate({**values, **changes})


def done(asked: Order) -> Listing:
    return Answer.model_validate_json(train_on_node(asked.model_dump_json(), LOOPBACK)).result()


def test_a_node_goes_on_where_another_was_stopped_and_makes_the_same(
    sequences: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = order(sequences, tmp_path / "shared")
    leave = Handover.leave

    def leave_and_be_stopped(handover: Handover) -> None:
        leave(handover)
        if handover._has_left:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Handover, "leave", leave_and_be_stopped)
        done(asked)
    enter(tmp_path / "another node", monkeypatch)
    output = done(asked)
    exchange = open_exchange(asked.exchange)
    exchange.fetch(output_of(asked.place), output, tmp_path / "fetched")
    (resumed,) = (e for e in JournalReader(tmp_path / "fetched").new_events() if e["event"] == "resumed")
    assert resumed["step"] > 0
    assert not list((tmp_path / "another node" / "node").glob("trainings/*/")), "it is in the exchange"
    assert exchange.find(output_of(asked.place)) == output
    assert done(asked) == output, "another driver finds it there"

    def local(folder: Path, events: list[Any]) -> None:
        pass

    here = CONFIG.model_copy(update={"execution": CONFIG.execution.model_copy(update={"engine": "local"})})
    job = {"config": here, "variant": 0, "seed": 3, "sequences_folder": sequences.path}
    recipe = training_recipe(sequences.ref, here, here.variants[0], 3)
    undisturbed = train_supervised(
        nodes._launcher("", "1"), Store(tmp_path / "undisturbed"), recipe, job=job, run="r", on_events=local
    )
    assert recipe.key == asked.recipe.key
    files = read_json(undisturbed.path / MANIFEST)["files"]
    content = [name for name in files if not name.startswith("log/")]
    assert "weights.safetensors" in content
    assert {name: output.files[name] for name in content} == {name: files[name] for name in content}
    assert JOURNAL_FILE in output.files


def test_a_place_that_fails_for_a_moment_is_asked_again(
    sequences: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = order(sequences, tmp_path / "shared")
    output = open_exchange(asked.exchange).put(output_of(asked.place), sequences.path, [MANIFEST], {})
    get, failures = FilePlace.get, [OSError("503"), OSError("503 again")]

    def fail_twice(place: FilePlace, name: str, path: Path) -> None:
        if failures:
            raise failures.pop()
        get(place, name, path)

    monkeypatch.setattr(FilePlace, "get", fail_twice)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    assert done(asked) == output and not failures


def test_what_would_come_out_otherwise_is_not_trained(sequences: Entry, tmp_path: Path) -> None:
    other = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update={"epochs": 17})})
    with pytest.raises(TrainingError, match=r"this node would make other trainings: training.epochs 16 → 17"):
        done(order(sequences, tmp_path / "shared", config=other))
    asked = order(sequences, tmp_path / "shared")
    altered = asked.sequences.model_copy(update={"digest": "0" * 64})
    with pytest.raises(DataError, match=r"rows of digits: the SHA-256 is \w{12}… here, 000000000000…") as found:
        done(asked.model_copy(update={"sequences": altered}))
    assert found.value.fix == nodes.FIX_CODE


def test_images_of_the_driver_alone_are_sent(sequences: Entry, tmp_path: Path) -> None:
    asked = order(sequences, tmp_path / "shared")
    exchange, store = open_exchange(asked.exchange), Store(tmp_path / "node")
    send(exchange, sequences_place(sequences.ref), sequences)
    assert nodes._sequences(store, exchange, asked).ref == sequences.ref
    assert not (tmp_path / "node/datasets").exists()


@pytest.mark.parametrize(
    ("data", "is_sent"),
    [
        ({"name": "digits"}, False),
        ({"name": "mnist"}, False),
        ({"name": "folder", "folder": "images"}, True),
        ({"name": "npz", "file": "series.npz"}, True),
    ],
)
def test_only_files_of_the_driver_are_sent(data: dict[str, Any], is_sent: bool) -> None:
    transform = {"name": "as-is" if data["name"] == "npz" else "rows"}
    config = PipelineConfig.model_validate({**TINY, "data": data, "sequence": transform})
    assert nodes.must_be_sent(config) == is_sent


def test_a_place_has_to_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(nodes.EXCHANGE_VARIABLE, raising=False)
    with pytest.raises(RnnpipeError, match=r"execution\.ray\.exchange = null") as found:
        open_exchange("")
    assert nodes.EXCHANGE_VARIABLE in found.value.fix
    monkeypatch.setenv(nodes.EXCHANGE_VARIABLE, str(tmp_path))
    assert open_exchange("").url == str(tmp_path)
