"""What the terminal tells of a training that goes on where another process was."""

import fcntl
import json
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from flows.progress import LogProgress
from rnnpipe.cli.progress import LiveProgress, PlainProgress, terminal_progress
from rnnpipe.cli.training_lines import COLUMNS, duration

START = {"event": "start", "epochs": 3, "updates_per_epoch": 100}
END = {"event": "end", "stopped_early": False, "validation_accuracy": 0.98, "epochs": 3, "wall_s": 12.0}
EPOCH = {"event": "epoch", "epoch": 1, "train_loss": 0.5, "validation_accuracy": 0.98, "samples_per_s": 12_345.0}
LABELS = ["single-neuron s0", "image-rnn s0", "gru s0", "lstm s0"]
NOTE = "checkpoint step-0000000150-epoch-00001.json can't be used: it is not what was written"
PASSED_OVER = {"event": "resumed", "epoch": 1, "step": 1100, "note": NOTE}


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (PASSED_OVER, f"goes on after step 1,100 ({NOTE})"),
        ({**PASSED_OVER, "note": ""}, "goes on after step 1,100"),
        ({**PASSED_OVER, "step": 0, "epoch": 0}, f"starts over ({NOTE})"),
    ],
)
def test_where_a_training_goes_on_is_told_everywhere(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, event: dict[str, object], line: str
) -> None:
    with caplog.at_level(logging.INFO, "rnnpipe.progress"):
        LogProgress().training("gru s0", event)
    PlainProgress().training("gru s0", event)
    assert caplog.messages == [f"gru s0: {line}"] and capsys.readouterr().out == f"gru s0  {line}\n"
    console = Console(width=200)
    LiveProgress(["gru s0"], console).training("gru s0", event)
    assert line in capsys.readouterr().out


def test_the_time_left_is_reckoned_from_what_this_process_did(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    progress = LiveProgress(["gru s0"], console)
    for event in (START, {**PASSED_OVER, "step": 150}):
        progress.training("gru s0", event)
    console.print(progress)
    shown = capsys.readouterr().out
    assert "1.5 / 3" in shown and " s\n" not in shown.splitlines()[-1]
    progress.training("gru s0", {"event": "steps", "first_step": 150, "losses": ["0x1p-1"], "samples_per_s": 9.0})
    console.print(progress)
    assert "0.5000" in capsys.readouterr().out


def test_where_not_all_lines_have_room_those_at_work_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=120, height=9)
    progress = LiveProgress([f"gru s{seed}" for seed in range(60)], console)
    for seed in (40, 41):
        progress.training(f"gru s{seed}", START)
    for seed in range(30):
        progress.stage(f"gru s{seed}", "skipped: same inputs")
    for seed in range(50, 60):
        progress.stage(f"gru s{seed}", "failed: it diverged")
    capsys.readouterr()
    console.print(progress)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "gru s57", "gru s58", "gru s59", "gru s40", "gru s41", "55 more",
    ]  # fmt: skip
    assert lines[-1].split("more")[1].strip() == "skipped: 30, waits: 18, failed: 7"


def test_all_that_wait_for_another_run_say_so_until_one_has_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    progress = LiveProgress(["gru s0", "gru s1", "gru s2"], console)
    progress.stage("gru s2", "skipped: same inputs")
    progress.waits("gru s0", "cpu, held by nightly lstm seed 0")
    capsys.readouterr()
    console.print(progress)
    assert capsys.readouterr().out.count("waits for another run") == 2
    progress.training("gru s1", START)
    console.print(progress)
    shown = capsys.readouterr().out
    assert "waits for another run" not in shown and shown.count("waits") == 1


def test_who_waits_for_another_run_says_so_until_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    progress = LiveProgress(["gru s0"], console)
    progress.waits("gru s0", "cpu, held by nightly lstm seed 0")
    console.print(progress)
    shown = capsys.readouterr().out
    assert "waits for cpu, held by nightly lstm seed 0" in shown and "waits for another run" in shown
    progress.training("gru s0", START)
    console.print(progress)
    assert "waits" not in capsys.readouterr().out


def steps(first: int, *losses: float) -> dict[str, object]:
    return {"event": "steps", "first_step": first, "losses": [x.hex() for x in losses], "samples_per_s": 12_345.0}


def half_done(console: Console) -> LiveProgress:
    """A display of one training that waits, one that has ended, and two at work, one of them near its end."""
    progress = LiveProgress(LABELS, console)
    for label in LABELS[1:]:
        progress.training(label, START)
        for number in range(15):
            progress.training(label, steps(10 * number, *[2.0 ** (-number)] * 10))
        progress.training(label, EPOCH)
    progress.training(LABELS[1], END)
    return progress


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, set()),
        (80, set()),
        (76, {"state"}),
        (60, {"state", "images/s"}),
        (50, {"state", "images/s", "val. %"}),
        (45, {"state", "images/s", "val. %", "trend"}),
    ],
)
def test_a_table_has_the_columns_that_fit(
    capsys: pytest.CaptureFixture[str], width: int, left_out: set[str]
) -> None:
    console = Console(width=width, color_system=None)
    progress = half_done(console)
    capsys.readouterr()
    console.print(progress)
    heading, waits, ended, at_work, *_ = lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    shown = heading.replace("loss so far", "trend").replace("val. %", "val.%").split()
    assert shown == ["variant", *(name.replace(" ", "") for name in COLUMNS if name not in left_out)]
    assert waits.split() == ["single-neuron", "s0", "waits"] and "trained" in ended
    assert "1.5 / 3" in at_work and "0.5000" in at_work and at_work.rstrip().endswith(" s")
    assert ("█" in at_work and "▁" in at_work) == ("trend" not in left_out)
    assert lines[-1].startswith("1 of 4 done, about ")


def test_a_screen_without_bars_has_a_table_without_them() -> None:
    with open(os.devnull, "w", encoding="ascii") as nowhere:  # noqa: PTH123
        console = Console(width=100, color_system=None, file=nowhere, record=True)
        console.print(half_done(console))
        drawn = console.export_text()
    assert "0.5000" in drawn and "1.5 / 3" in drawn and "█" not in drawn


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (6000, "2 h"), (400_000, "5 d")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_ci_is_told_of_trainings_not_of_epochs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI does; it makes no terminal of it
    for ci, lines in (("true", 2), ("", 3)):
        monkeypatch.setenv("CI", ci)
        monkeypatch.setenv("TERM", "dumb")
        with terminal_progress(None) as progress:
            assert isinstance(progress, PlainProgress)
            progress.stage("gru s0", "runs")
            for event in (START, EPOCH, EPOCH, END) if not ci else (START, EPOCH, END):
                progress.training("gru s0", event)
        told = capsys.readouterr().out.splitlines()
        assert len(told) == lines and told[0] == "gru s0  runs"
        assert told[-1] == (
            "gru s0  trained: 3 epochs, validation accuracy 0.9800, 12 s"
            if ci
            else "gru s0  epoch 1, loss 0.5000, validation accuracy 0.9800, 12,345 images/s"
        )


SCRIPT = """
import json, sys
from rnnpipe.cli.progress import terminal_progress
from rnnpipe.config import PipelineConfig
config = PipelineConfig(variants=[{"name": "gru"}, {"name": "lstm"}])
with terminal_progress(config) as progress:
    progress.stage("gru s0", "failed: it diverged")
    for event in json.loads(sys.argv[1]):
        progress.training("lstm s0", event)
"""


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_real_terminal_of_60_columns_holds_it_with_and_without_colour(no_color: str) -> None:
    events = json.dumps([START, steps(0, 2.0, 2.0), steps(2, 1.0), EPOCH, END])
    shown = on_a_terminal([sys.executable, "-c", SCRIPT, events], columns=60, NO_COLOR=no_color)
    assert "\x1b[2K" in shown  # it is redrawn
    assert ("\x1b[31m" in shown) == (not no_color)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()
    assert any(line.startswith("lstm s0  trained   0.5000  █▁") for line in drawn)
    assert max(map(len, drawn)) <= 60


@pytest.mark.parametrize("no_color", ["", "1"])
def test_an_error_heeds_no_color_as_well(tmp_path: Path, no_color: str) -> None:
    command = [sys.executable, "-m", "rnnpipe", "run", str(tmp_path / "none.yaml")]
    told = on_a_terminal(command, columns=80, code=2, NO_COLOR=no_color)
    assert "none.yaml" in told and ("\x1b[31m" in told) == (not no_color)


def on_a_terminal(command: list[str], *, columns: int, code: int = 0, **environment: str) -> str:
    """Return all that a command, which ends with this code, writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    others = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "FORCE_COLOR")}
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**others, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        told += part
        if not part:
            break
    os.close(ours)
    assert process.wait(60) == code, told
    return told.decode()
