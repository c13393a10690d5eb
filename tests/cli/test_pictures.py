"""The README's pictures, drawn from a run in the workspace."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from workspaces import ROOT, Workspace


@pytest.mark.usefixtures("first_run")
def test_pictures_are_drawn_from_what_is_stored(workspace: Workspace, tmp_path: Path) -> None:
    def draw(config: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, ROOT / "docs" / "pictures.py", config, "--to", tmp_path], cwd=tmp_path,
            env=workspace.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = draw(workspace.config())
    assert done.returncode == 0, done.stderr
    for name in ("belief.png", "leaderboard.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 400 and len(set(picture.convert("L").resize((50, 50)).tobytes())) > 10
    missing = draw(workspace.config("never-run", seeds=[99]))
    assert missing.returncode == 1 and "run the config first" in missing.stderr
