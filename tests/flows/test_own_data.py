"""Data of the user's own from a file to an answer of the champion: images in colour, and series of any length."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from workspaces import Workspace

VARIANTS: list[dict[str, Any]] = [{"name": "gru", "hidden_size": 16, "num_layers": 1}]
TRAINING = {"epochs": 6, "batch_size": 16, "learning_rate": 0.01}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def answers(workspace: Workspace, *arguments: object) -> list[dict[str, Any]]:
    done = workspace.rnnpipe("predict", *arguments, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def check_runs(workspace: Workspace, config: Path, model: str) -> None:
    """Run a config twice: it makes a champion, and then it is skipped."""
    done = workspace.rnnpipe("run", config)
    assert done.code == 0, done.out + done.err
    assert f"PROMOTE models:/{model}/1" in done.out and done.err == ""
    again = workspace.rnnpipe("retrain", config)
    assert again.code == 0 and f"same images, config and code as models:/{model}/1" in again.out


def test_images_in_colour_become_a_champion_that_knows_their_names(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = {"red one": (255, 60, 60), "green$": (60, 255, 60), "blau ü": (60, 60, 255)}
    for name, colour in names.items():  # of the same brightness
        (tmp_path / "Stained Glass" / name).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(100, 256, (20, 16, 1)) * np.array(colour) / 255
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "Stained Glass" / name / f"{number}.png")
    workspace = Workspace(tmp_path)
    data = {"name": "folder", "folder": str(tmp_path / "Stained Glass"), "image_size": [12, 12], "colour": "rgb"}
    config = workspace.config(
        "glass", data=data, sequence={"name": "columns"}, variants=VARIANTS,
        training={**TRAINING, "shift_pixels": 1, "rotation_degrees": 5},
    )  # fmt: skip
    check_runs(workspace, config, "stained-glass-columns")
    found = answers(workspace, "stained-glass-columns", tmp_path / "Stained Glass")
    right = sum(Path(answer["image"]).parent.name == answer["class"] for answer in found)
    assert len(found) == 180 and right > 170 and found[0]["probabilities"].keys() == names.keys()
    refused = workspace.rnnpipe("demo", "stained-glass-columns", "--no-open")
    assert refused.code == 2 and "reads images in colour" in refused.err
    done = workspace.rnnpipe("reproduce", "stained-glass-columns")
    assert done.code == 0 and "SAME" in done.out


def test_series_of_any_length_become_a_champion(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.array(["up", "down", "flat"])[np.arange(300) % 3]
    slope_N = np.array([1, -1, 0])[np.arange(300) % 3]
    x_NTI = np.cumsum(random.normal(0, 0.5, (300, 20, 2)) + slope_N[:, None, None], axis=1)
    lengths = random.integers(8, 21, 300)
    np.savez(tmp_path / "Trends.npz", x=x_NTI, y=labels, lengths=lengths, features=["near", "far"])
    workspace = Workspace(tmp_path)
    config = workspace.config(
        "trends", data={"name": "npz", "file": str(tmp_path / "Trends.npz")}, training=TRAINING,
        sequence={"name": "as-is", "scaling": "standard"}, variants=[*VARIANTS, {"name": "min-gru"}],
    )  # fmt: skip
    check_runs(workspace, config, "trends-as-is")
    np.savez(tmp_path / "new.npz", x=x_NTI[:30, :8], features=["near", "far"])
    found = answers(workspace, "trends-as-is", tmp_path / "new.npz")
    assert [answer["series"] for answer in found] == [str(number) for number in range(30)]
    assert sum(answer["class"] == label for answer, label in zip(found, labels, strict=False)) > 25
    done = workspace.rnnpipe("reproduce", "trends-as-is")
    assert done.code == 0 and "SAME" in done.out
