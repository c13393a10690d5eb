"""Prefect reads a result only where it is, to the byte, the one of what the store holds."""

import json
import os
from pathlib import Path

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import JSONSerializer, Serializer

from flows.cached import SERIALIZER, cache_key, holds_only
from rnnpipe.references import Recipe, StageRef

RECIPE = Recipe(stage="trainings", inputs={"seed": 1})
STORED = StageRef(stage="trainings", key=RECIPE.key, digest="d" * 64, facts={"accuracy": 0.1 + 0.2, "name": "é"})
KEY = cache_key(RECIPE)


def written(folder: Path, serializer: Serializer = SERIALIZER, stored: StageRef = STORED) -> Path:
    """Let Prefect write a record, and return its file."""
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(folder)), serializer=serializer)
    store.write(stored.model_dump(), key=KEY)
    return folder / KEY


def test_what_prefect_wrote_of_the_stored_output_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    assert holds_only(tmp_path, KEY, STORED)
    assert path.read_bytes() == before


def test_without_a_stored_output_nothing_is_read(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert not holds_only(tmp_path, KEY, None)
    assert not path.exists()
    assert not holds_only(tmp_path / "none", KEY, STORED)


@pytest.mark.parametrize("place", [0, 100, -1])
def test_any_other_byte_removes_the_record(tmp_path: Path, place: int) -> None:
    path = written(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert not holds_only(tmp_path, KEY, STORED)
    assert not path.exists()


def test_another_serializer_or_result_is_not_read(tmp_path: Path) -> None:
    written(tmp_path, JSONSerializer())
    assert not holds_only(tmp_path, KEY, STORED)
    written(tmp_path, stored=STORED.model_copy(update={"stage": "../elsewhere"}))
    assert not holds_only(tmp_path, KEY, STORED)
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b"\n")
    assert not holds_only(tmp_path, KEY, STORED)


def test_links_folders_and_pipes_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    folder, outside = tmp_path / "results", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    kept = written(outside)
    for make in (lambda: (folder / KEY).symlink_to(kept), lambda: (folder / KEY).symlink_to(outside),
                 lambda: (folder / KEY / "x").mkdir(parents=True), lambda: os.mkfifo(folder / KEY)):  # fmt: skip
        make()
        assert not holds_only(folder, KEY, STORED)
        assert not os.path.lexists(folder / KEY)
    assert json.loads(kept.read_bytes())["metadata"]["serializer"]["type"] == "json"
