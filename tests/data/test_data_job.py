"""The stages of data in a process of their own: the same files and facts, and all that it tells and raises."""

import json
import logging
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from rnnpipe.config import PipelineConfig
from rnnpipe.data.growing import UnusableImagesError
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, sequences_recipe
from rnnpipe.data_job import (
    JOB_FILE,
    RESULT_FILE,
    TOLD_FILE,
    _Lines,
    _telling,
    make_dataset,
    make_sequences,
)
from rnnpipe.errors import DataError, DownloadError, remade
from rnnpipe.processes.launcher import Launcher
from rnnpipe.store import Entry, Store

CONFIG = PipelineConfig.model_validate({"data": {"name": "digits"}, "variants": [{"name": "gru"}]})


@pytest.fixture(scope="module")
def launcher():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.delenv("RNNPIPE_MIRRORS", raising=False)
        with Launcher(["no_mirrors"]) as started:
            yield started


def files_of(entry: Entry) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in entry.path.glob("*.npy")}


def test_a_process_of_its_own_makes_the_same_bytes(launcher, tmp_path):
    made, recipe = {}, dataset_recipe(CONFIG.data)
    for name in ("here", "there"):
        store, is_here = Store(tmp_path / name), name == "here"

        def build_images(folder: Path, is_here=is_here):
            if is_here:
                return build_dataset(CONFIG.data, tmp_path, folder)
            return make_dataset(launcher, CONFIG, tmp_path, folder, tell=print)

        dataset = store.ensure(recipe, build_images, "one")

        def build(folder: Path, dataset=dataset, is_here=is_here):
            if is_here:
                return build_sequences(dataset, CONFIG.data, CONFIG.sequence, folder)
            return make_sequences(launcher, CONFIG, dataset, folder)

        sequences = store.ensure(sequences_recipe(dataset.ref, CONFIG.data, CONFIG.sequence), build, "one")
        made[name] = [(entry.ref.digest, entry.ref.facts, files_of(entry)) for entry in (dataset, sequences)]
        left = [entry.path / each for entry in (dataset, sequences) for each in (JOB_FILE, RESULT_FILE, TOLD_FILE)]
        assert not any(path.exists() for path in left)
    assert made["here"] == made["there"]


def mnist_from(url: str) -> PipelineConfig:
    return PipelineConfig.model_validate({**CONFIG.as_json(), "data": {"name": "mnist", "mirrors": [url]}})


def test_warnings_of_mirrors_and_the_error_arrive(launcher, tmp_path, caplog):
    url = "http://127.0.0.1:9/nobody"
    with caplog.at_level(logging.INFO), pytest.raises(DownloadError, match="no source has its files"):
        make_dataset(launcher, mnist_from(url), tmp_path / "downloads", tmp_path, tell=print)
    told = [(each.levelname, each.getMessage()) for each in caplog.records if each.name == "rnnpipe.data.mirrors"]
    assert told[0] == ("INFO", f"downloading {url}/train-images-idx3-ubyte.gz")
    assert told[1][0] == "WARNING" and told[1][1].startswith(f"{url}/train-images-idx3-ubyte.gz: ConnectError")


@pytest.mark.parametrize(
    ("number", "told", "left"),
    [
        (signal.SIGKILL, "dataset: the process was killed by SIGKILL", 1),
        (signal.SIGTERM, "dataset: the process was killed by SIGTERM", 0),
    ],
)
def test_a_process_that_is_stopped_is_an_error_of_the_data(launcher, tmp_path, number, told, left):
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        config = mnist_from(f"http://127.0.0.1:{silent.getsockname()[1]}")
        future = pool.submit(make_dataset, launcher, config, tmp_path / "downloads", tmp_path, tell=print)
        connection, _ = silent.accept()
        with connection:
            for job in psutil.Process(launcher._server.pid).children():
                job.send_signal(number)
            with pytest.raises(DataError, match=told):
                future.result()
    assert len(list(tmp_path.glob("downloads/mnist/.*"))) == left  # asked to end, it removes what is half-written


def test_what_a_stage_tells_on_its_way_arrives(launcher, tmp_path, monkeypatch):
    root, target, told = tmp_path / "images", tmp_path / "stage", list[str]()
    for path in (root / label / f"{number}.png" for label in "ab" for number in range(8)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), len(path.name)).save(path)
    data = {"name": "folder", "folder": str(root), "image_size": [8, 8], "test_fraction": 0.5}
    config = PipelineConfig.model_validate({**CONFIG.as_json(), "data": data})
    target.mkdir()
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):  # what was made before stays
        patch.setattr("rnnpipe.data.pictures.save_samples", lambda *_: 1 / 0)
        build_dataset(config.data, tmp_path, target)
    facts = make_dataset(launcher, config, tmp_path, target, tell=told.append)
    assert facts["train"] == facts["test"] == 8
    assert told == [f"goes on: 8 of 8 {name} images are there" for name in ("train", "test")]


def test_an_error_of_a_kind_that_only_the_process_knows_stays_one_of_data():
    record = UnusableImagesError(["a.png: empty"]).record
    assert record["type"] == "DataError"
    error = remade(**{"kind": record["type"], "message": record["message"], "fix": record["fix"]})
    assert isinstance(error, DataError) and error.exit_code == 3 and "a.png: empty" in error.message


def test_a_line_that_is_written_in_two_pieces_is_told_once(tmp_path):
    told = list[str]()
    with (tmp_path / "told").open("w") as written, (tmp_path / "told").open() as read:
        lines = _Lines(read, told.append)
        for piece in ('["", 20, "one"]\n["", 2', '0, "two"]', "\n"):
            written.write(piece)
            written.flush()
            lines.pass_on()
    assert told == ["one", "two"]


def test_warnings_of_other_loggers_arrive_and_what_cant_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "log").mkdir()
    with _telling(tmp_path) as tell:
        logging.getLogger("of_a_plug_in").info("nobody need know")
        logging.getLogger("of_a_plug_in").warning("all should know")
        tell("how far it is")
    lines = [json.loads(line) for line in (tmp_path / TOLD_FILE).read_text().splitlines()]
    assert lines == [["of_a_plug_in", logging.WARNING, "all should know"], ["", logging.INFO, "how far it is"]]
