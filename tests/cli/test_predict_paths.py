"""Paths that are given to predict: links that lead out of a folder, and names that aren't UTF-8."""

import contextlib
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from rnnpipe.cli import main
from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.tracking import client, promotion, registry
from rnnpipe.tracking.registry import Version

FACTS = {
    "dataset": {"name": "x", "digest": "d" * 64}, "classes": ["a", "b"], "image_size": [8, 8],
    "sequence": {"name": "rows"}, "steps": 8, "features": 8, "mean": 0.2, "deviation": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec.of(FACTS, VariantConfig(name="gru", hidden_size=8))
    save_model(tmp_path / "model", spec, build_network(spec, seed=1))
    monkeypatch.setattr(client, "open_tracking", lambda *arguments: None)
    monkeypatch.setattr(registry, "resolve_model_uri", lambda *arguments: Version("m", 1, "", "", {}, ""))
    monkeypatch.setattr(promotion, "fetch_model", lambda *arguments: tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def predict(*arguments: object) -> tuple[int, str, str]:
    """Return how the command ends and what it says on streams that refuse what isn't UTF-8, as a terminal's."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    told = contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1])
    with told[0], told[1], pytest.raises(SystemExit) as end:
        main(["predict", "m", *map(str, arguments)])
    said = []
    for stream in streams:
        stream.seek(0)
        said.append(stream.read())
    return int(end.value.code or 0), said[0], said[1]


@pytest.mark.parametrize("through", ["file", "folder"])
def test_a_link_out_of_the_folder_is_not_followed(pictures: Path, tmp_path: Path, through: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for folder in (pictures, outside):
        Image.new("L", (8, 8)).save(folder / "0.png")
    if through == "file":
        (pictures / "1.png").symlink_to(outside / "0.png")
        code, out, err = predict(pictures)
        assert (code, out) == (3, "") and "1.png: a link that leads out of the folder" in err and "fix: " in err
    else:
        (pictures / "more").symlink_to(outside)
        code, out, err = predict(pictures)
        assert code == 0 and len(out.splitlines()) == 1, err
    assert predict(outside / "0.png")[0] == 0


def test_a_link_within_the_folder_is_followed(pictures: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(pictures / "0.png")
    (pictures / "1.png").symlink_to("0.png")
    (tmp_path / "named otherwise").symlink_to(pictures)
    code, out, err = predict(tmp_path / "named otherwise")
    assert code == 0 and len(out.splitlines()) == 2, err


@pytest.mark.parametrize(("name", "shown"), [(b"\xff.png", r"\udcff.png"), (b"\x1b[2J\n.png", r"\x1b[2J\n.png")])
def test_a_name_that_no_terminal_can_show_is_escaped(pictures: Path, name: bytes, shown: str) -> None:
    path = Path(os.fsdecode(os.fsencode(pictures) + b"/" + name))
    Image.new("L", (8, 8)).save(path)
    code, out, err = predict(pictures)
    assert code == 0 and out.startswith(f"{pictures}/{shown}  "), err
    assert json.loads(predict(path, "--json")[1])["image"] == str(path)


def test_a_name_that_is_too_long_is_a_file_that_is_not_there() -> None:
    code, _, err = predict("x" * 100_000)
    assert code == 3 and "there is no such file or folder" in err
