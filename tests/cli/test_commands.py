"""What each command says, and with which code it ends, when all is well and when not."""

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workspaces import ROOT, Done, Workspace

from rnnpipe.catalogue import DATASETS, SEQUENCES, VARIANTS
from rnnpipe.cli import cli, main

HEAVY = {"torch", "torchvision", "numpy", "sklearn", "matplotlib", "prefect", "mlflow", "pandas"}
COMMANDS = (
    "run", "runs", "retrain", "sweep", "why", "report", "compare", "sync", "validate", "variants", "datasets",
    "demos", "predict", "demo", "reproduce", "champions", "promote", "rollback", "prune", "serve-model", "deploy",
    "serve", "worker", "announce", "stack", "ui", "up", "down", "doctor", "completion",
)  # fmt: skip


def modules_after(*arguments: str) -> set[str]:
    """Return the top-level modules that a command leaves imported."""
    code = (
        "import sys\nfrom rnnpipe.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Return a function that runs a command that needs no workspace."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(int(end.value.code or 0), captured.out, captured.err)

    yield run
    signal.signal(signal.SIGTERM, handler)
    gc.unfreeze()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures of different size and kind."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (mode, size) in enumerate([("L", (8, 8)), ("RGB", (20, 30)), ("RGBA", (9, 9))]):
        Image.new(mode, size, color="white" if mode == "L" else (90, 20, 200)).save(folder / f"{number}.png")
    return folder


def test_help_is_light_and_names_every_command(say: Any) -> None:
    assert modules_after("--help") & (HEAVY | {"pydantic", "rich"}) == set()
    done = say("--help")
    assert done.code == 0 and all(f"\n  {command} " in done.out for command in COMMANDS)
    assert set(COMMANDS) == set(cli.commands)
    for command in COMMANDS:
        assert say(command, "--help").code == 0


@pytest.mark.parametrize("command", ["variants", "datasets"])
def test_lists_are_light(command: str) -> None:
    assert modules_after(command) & (HEAVY | {"pydantic"}) == set()


def test_checking_a_config_is_light() -> None:
    assert modules_after("validate", "configs/quickstart.yaml") & HEAVY == set()


def test_lists_name_the_whole_catalogue(say: Any) -> None:
    assert all(name in say("variants").out for name in VARIANTS)
    datasets = say("datasets").out
    assert all(name in datasets for name in [*DATASETS, *SEQUENCES])


def test_configs_are_checked_all_at_once(say: Any, tmp_path: Path) -> None:
    good, bad, missing = (tmp_path / name for name in ("good.yaml", "bad.yaml", "missing.yaml"))
    good.write_text("variants: [{name: gru}]\n")
    bad.write_text("variants: [{name: gruu}]\ntraining: {epochs: 0}\n")
    done = say("validate", good, bad, missing)
    assert done.code == 2 and f"{good}: valid" in done.out
    assert "bad.yaml: 2 mistakes" in done.err and "gruu" in done.err and "gru" in done.err
    assert "missing.yaml" in done.err
    assert say("validate", good).code == 0
    assert say("validate", good, "--set", "training.epochs=0").code == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rum"], "No such command 'rum'"),
        (["run"], "Missing argument 'CONFIG'"),
        (["validate", "--sett", "x=1", "c.yaml"], "No such option '--sett'"),
        (["ui", "--port", "0"], "0 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_told_in_words(say: Any, arguments: list[str], text: str) -> None:
    done = say(*arguments)
    assert done.code == 2 and text.replace("'", "") in done.err.replace("'", "")


def test_errors_are_short_unless_debugged(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rnnpipe", "run", str(tmp_path / "none.yaml")]
    short = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert short.returncode == 2 and "none.yaml" in short.stderr and "fix: " in short.stderr
    assert "Traceback" not in short.stderr and len(short.stderr.splitlines()) < 10
    long = subprocess.run([*command, "--debug"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert long.returncode != 0 and "Traceback" in long.stderr and "ConfigError" in long.stderr


@pytest.mark.usefixtures("first_run")
def test_pictures_are_classified(call: Any, pictures: Path) -> None:
    one = call("predict", "digits-rows", pictures / "0.png")
    assert one.code == 0 and one.err.startswith("models:/digits-rows/")
    path, label, probability = one.out.split("  ")
    assert path == str(pictures / "0.png") and label in map(str, range(10)) and 0.1 <= float(probability) <= 1
    folder = call("predict", "models:/digits-rows/1", pictures, pictures / "0.png", "--json")
    answers = [json.loads(line) for line in folder.out.splitlines()]
    assert [Path(answer["image"]).name for answer in answers] == ["0.png", "1.png", "2.png", "0.png"]
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    inverted = call("predict", "models:/digits-rows/1", pictures / "0.png", "--json", "--invert")
    assert json.loads(inverted.out)["probabilities"] != answers[0]["probabilities"]


@pytest.mark.usefixtures("first_run")
def test_what_is_no_picture_or_no_model_is_named(call: Any, pictures: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n")
    for arguments, code, text in [
        (("digits-rows", broken), 3, "broken.png"),
        (("digits-rows", tmp_path / "nothing.png"), 3, "nothing.png: there is no such file or folder"),
        (("digits-rows", tmp_path.joinpath("empty")), 3, "empty: no image in this folder"),
        (("digits-columns", pictures), 5, "there is no digits-columns"),
        (("models:/digits-rows/99", pictures), 5, "the versions 1"),
        (("digits-rows@", pictures), 2, "names no model"),
    ]:
        tmp_path.joinpath("empty").mkdir(exist_ok=True)
        done = call("predict", *arguments)
        assert done.code == code, done.err
        assert text in done.err and "fix: " in done.err and not done.out


@pytest.mark.slow
def test_a_server_is_started_once_and_stopped(tmp_path: Path) -> None:
    own = Workspace(tmp_path)
    assert "no Prefect server of this workspace is running" in own.rnnpipe("down").out
    up = own.rnnpipe("up")
    assert up.code == 0 and "Prefect is up: http://127.0.0.1:" in up.out
    assert own.rnnpipe("up").out == up.out
    assert own.processes()
    assert own.rnnpipe("down").out.strip() == "the Prefect server is stopped"
    assert not own.processes()


@pytest.mark.parametrize("arguments", [("run", "\0"), ("why", "\0"), ("validate", "a\0b")])
def test_an_argument_that_is_no_text_is_refused(say: Any, arguments: tuple[str, ...]) -> None:
    done = say(*arguments)
    assert done.code == 2 and "NUL" in done.err
