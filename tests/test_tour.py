"""docs/tour.md, done as it says: every block, in its order, in a folder of its own. It trains fourteen nets."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from workspaces import ROOT, Workspace, free_port

TEXT = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
PATIENCE_S = 900


@pytest.fixture
def own(tmp_path: Path) -> Workspace:
    """A folder with the configs, and programs called as where the environment is active."""
    own = Workspace(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, module in (("python", ""), ("rnnpipe", " -m rnnpipe")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        (programs / name).chmod(0o700)
    own.environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return own


def typed(own: Workspace, block: str) -> str:
    """Do what a block says, and return what it prints."""
    done = subprocess.run(
        [str(shutil.which("bash")), "-euc", block], cwd=own.folder, env=own.environment, capture_output=True,
        text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def told_until_ctrl_c(own: Workspace, *command: str) -> str:
    """Start a command that serves a page, press Ctrl-C once it has told where, and return what it told."""
    with own.start(*command, "--port", free_port()) as process:
        assert process.stdout is not None
        told = ""
        while "http://" not in told and (line := process.stdout.readline()):
            told += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return f"{told}{out}{err}"


def test_the_tour_has_its_stations() -> None:
    assert len(BLOCKS) == 8 and BLOCKS[0] == "make run\n"
    assert [BLOCKS[2], BLOCKS[4]] == ["rnnpipe ui\n", "rnnpipe demo digits-rows\n"]
    run = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "CONFIG ?= configs/quickstart.yaml" in run and "$(BIN)/rnnpipe run $(CONFIG)" in run


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tour_can_be_taken(own: Workspace) -> None:
    first, listed, _, asked, _, again, compared, toys = BLOCKS
    assert "PROMOTE" in typed(own, first.replace("make run", "rnnpipe run configs/quickstart.yaml"))
    shown = typed(own, listed.replace("source .venv/bin/activate\n", ""))
    assert " quickstart " in shown and " champion " in shown and "test accuracy, oldest to newest" in shown
    for page in (("ui",), ("demo", "digits-rows", "--no-open")):
        assert "http://127.0.0.1:" in told_until_ctrl_c(own, *page)
    answers = typed(own, asked).splitlines()
    assert [line.split("  ")[:2] for line in answers] == [[f"digit-{n}.png", str(n)] for n in range(3)]
    told = typed(own, again)
    assert "skipped: same seven inputs" in told and "training.learning_rate 0.004 → 0.002" in told
    assert " quickstart " in told.splitlines()[-1] and told.splitlines()[-1].rstrip().endswith(" 7")
    shown = typed(own, compared)
    assert "McNemar" in shown and " champion " in shown
    assert (own.folder / "report.html").stat().st_size > 100_000
    assert "parity" in typed(own, toys)
