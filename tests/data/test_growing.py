"""Images decoded by processes, straight into a file that a killed run goes on with; every damaged one is named."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from rnnpipe.config.data import DataConfig
from rnnpipe.data import decoders, growing
from rnnpipe.data.decoders import Chunk, Decoder, decode_chunk, decoded
from rnnpipe.data.decoding import Form
from rnnpipe.data.growing import MADE_FILE, write_lazily
from rnnpipe.data.stages import build_dataset
from rnnpipe.errors import DataError

FORM = Form((6, 5))


class Counted:
    """Lazy images of one grey each, in chunks of ten, that count how many were made."""

    shape = (100, 3, 2)

    def __init__(self, stop_at=1000, bad=()):
        self.made, self.stop_at, self.bad = [], stop_at, bad

    def chunks(self, chosen):
        for start in range(0, len(chosen), 10):
            part = chosen[start : start + 10]
            if len(self.made) >= self.stop_at:
                raise KeyboardInterrupt
            self.made += part.tolist()
            pixels = np.zeros((len(part), 3, 2), np.uint8) + part[:, None, None].astype(np.uint8)
            yield Chunk(pixels, tuple(f"{place}.png: bad" for place in part if place in self.bad))


CHOSEN = np.arange(0, 100, 2)
EXPECTED = np.broadcast_to(CHOSEN[:, None, None], (50, 3, 2))


def write(folder, images, tell=lambda sentence: None):
    write_lazily(folder / "train_images.npy", images, CHOSEN, tell)
    return np.load(folder / "train_images.npy", allow_pickle=False)


@pytest.fixture(name="safe_at_once")
def make_safe_at_once(monkeypatch):
    monkeypatch.setattr(growing, "SAVE_EVERY_S", 0)
    monkeypatch.setattr(growing, "TELL_EVERY_S", 0)


def test_what_is_made_is_not_made_again(tmp_path, safe_at_once):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Counted(stop_at=30))
    rest, told = Counted(), []
    np.testing.assert_array_equal(write(tmp_path, rest, told.append), EXPECTED)
    assert rest.made == CHOSEN[30:].tolist()
    assert told[0] == "goes on: 30 of 50 train images are there"
    assert told[-1].startswith("50 of 50 train images decoded, about 0 s left")
    write(tmp_path, whole := Counted())
    assert whole.made == []


DAMAGES = {
    "altered": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"x" * 9),
    "shortened": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "gone": lambda path: path.unlink(),
    "of others": lambda path: (path.parent / MADE_FILE).write_text('{"train_images.npy": [1]}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_as_it_was_written_is_made_again(tmp_path, damage, safe_at_once):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Counted(stop_at=30))
    DAMAGES[damage](tmp_path / "train_images.npy")
    np.testing.assert_array_equal(write(tmp_path, again := Counted()), EXPECTED)
    assert len(again.made) == 50


def test_what_was_written_after_the_last_mark_is_cut_off(tmp_path, safe_at_once):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, Counted(stop_at=30))
    with (tmp_path / "train_images.npy").open("ab") as file:
        file.write(b"torn")
    np.testing.assert_array_equal(write(tmp_path, Counted()), EXPECTED)


def test_all_images_that_cannot_be_used_are_named_at_once(tmp_path, safe_at_once):
    with pytest.raises(DataError, match=r"^4\.png: bad\n  88\.png: bad\n  fix: ") as caught:
        write(tmp_path, images := Counted(bad={4, 88}))
    assert len(images.made) == 50 and "remove" in caught.value.fix
    with pytest.raises(DataError, match=r"18\.png: bad\n  and 40 more\n"):
        write(tmp_path, Counted(bad=set(range(100))))


@pytest.fixture(name="paths")
def make_paths(tmp_path):
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{place} ü\udcff.png" for place in range(50)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (7, 9, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_processes_decode_what_this_one_does_in_the_same_order(paths, colour, monkeypatch):
    monkeypatch.setattr(decoders, "FEWEST", 10)
    monkeypatch.setattr(decoders, "MAX_CHUNK", 4)
    others = set(psutil.Process().children())  # Python's own, of an earlier test
    Path(paths[33]).write_bytes(b"no image")
    form = Form((6, 5), colour)
    alone, beside = (list(decoded(paths, form, processes)) for processes in (1, 2))
    whole = decode_chunk(paths, form)
    for chunks in (alone, beside):
        np.testing.assert_array_equal(np.concatenate([chunk.pixels for chunk in chunks]), whole.pixels)
        mistakes = [mistake for chunk in chunks for mistake in chunk.mistakes]
        assert mistakes == list(whole.mistakes) and "33 ü" in mistakes[0] and len(mistakes) == 1
    assert len(beside) == 13 and others >= set(psutil.Process().children())


def test_processes_end_when_nobody_takes_any_more(paths, monkeypatch):
    monkeypatch.setattr(decoders, "FEWEST", 10)
    monkeypatch.setattr(decoders, "MAX_CHUNK", 4)
    others = set(psutil.Process().children())
    chunks = decoded(paths, FORM, 2)
    next(chunks)
    assert len(set(psutil.Process().children()) - others) == 2
    chunks.close()
    assert others >= set(psutil.Process().children())


def test_the_death_of_a_process_is_told_with_the_images(paths):
    with Decoder(FORM) as decoder:
        decoder.decode(paths[:2])
        decoder._process.kill()
        with pytest.raises(DataError, match=r"process that decodes these 3 images has died") as caught:
            decoder.decode(paths[:3])
    assert "0 ü" in caught.value.message and "the same command goes on" in caught.value.fix


KILLED_RUN = """
import json, os, signal, sys
from pathlib import Path
from rnnpipe.config.data import DataConfig
from rnnpipe.data import decoders, growing
from rnnpipe.data.stages import build_dataset
growing.SAVE_EVERY_S, decoders.FEWEST, decoders.MAX_CHUNK = 0, 10, 4
save = growing.Growing.save
def save_and_die(self):
    save(self)
    if self.images >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
growing.Growing.save = save_and_die
build_dataset(DataConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def test_a_killed_run_goes_on_with_the_same_bytes_and_leaves_no_process(make_folder, tmp_path, monkeypatch):
    config = DataConfig(
        name="folder", folder=str(make_folder({"a": 40, "b": 40})), image_size=(5, 4), colour="rgb"
    )
    places = {name: tmp_path / name for name in ("killed", "whole")}
    for place in places.values():
        place.mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, config.model_dump_json(), str(tmp_path), str(places["killed"])],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    made = json.loads((places["killed"] / MADE_FILE).read_text())
    assert 20 <= made["train_images.npy"]["images"] < 64

    asked = []

    def counted(paths, form, processes):
        asked.append(len(paths))
        return decoded(paths, form, processes)

    monkeypatch.setattr("rnnpipe.data.folder.decoded", counted)
    facts = [build_dataset(config, tmp_path, place) for place in places.values()]
    assert facts[0] == facts[1] and facts[0]["channels"] == 3
    assert asked == [64 - made["train_images.npy"]["images"], 16, 64, 16]
    for name in ("train_images.npy", "test_images.npy", "train_labels.npy", MADE_FILE):
        assert (places["killed"] / name).read_bytes() == (places["whole"] / name).read_bytes()


def test_the_time_that_is_left_is_of_what_was_made_here(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(growing, "time", SimpleNamespace(monotonic=lambda: now[0]))
    told = []
    progress = growing.Progress("test_images", 5000, 3000, told.append)
    for _ in range(3):
        now[0] += 6
        progress.count(100)
    assert told == [
        "goes on: 3,000 of 5,000 test images are there",
        "3,200 of 5,000 test images decoded, about 108 s left",
    ]
