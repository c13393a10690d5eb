"""What the terminal tells of a training that goes on where another process was."""

import logging

import pytest
from rich.console import Console

from flows.progress import LogProgress
from rnnpipe.cli.progress import LiveProgress, PlainProgress

START = {"event": "start", "epochs": 3, "updates_per_epoch": 100}
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
