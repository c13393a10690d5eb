"""A training that was stopped and started again ends with the same bytes as one that was not."""

import json
from pathlib import Path
from typing import Any

import pytest
from comparing import losses_by_step, story, timeless

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.files import read_json
from rnnpipe.processes.launcher import Launcher
from rnnpipe.training.checkpoint import CHECKPOINT_FOLDER
from rnnpipe.training.job import prepare
from rnnpipe.training.journal import JOURNAL_FILE, Journal, read_journal
from rnnpipe.training.loop import Fit
from rnnpipe.training.setting import Setting, TrainingData

EPOCHS = 4
SETTINGS: dict[str, dict[str, Any]] = {
    "adam, dropout, one-cycle": {
        "name": "gru", "num_layers": 2, "dropout": 0.5, "training": {"schedule": "one-cycle"},
    },
    "adamw, cosine": {
        "name": "lstm", "training": {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
    },
    "sgd": {"name": "rnn", "training": {"optimizer": "sgd"}},
    "early stopping": {"name": "basic", "training": {"early_stopping_patience": 1, "learning_rate": 0.3}},
}  # fmt: skip


class StopError(Exception):
    """Stops a training where a test wants it."""


class Stopping(Journal):
    """A journal that stops the training before its n-th line of this process."""

    lines_left = -1

    def append(self, line: str) -> None:
        if self.lines_left == 0:
            raise StopError
        self.lines_left -= 1
        super().append(line)


def go_on(setting: Setting, data: TrainingData, lines: int = -1) -> bool:
    """Train as a process would, for so many lines of the journal; say whether it came to its end."""
    assert setting.folder is not None
    network = build_network(setting.spec, setting.seed)
    fitting = Fit(network, data, setting)
    fitting.resume()
    with Stopping(setting.folder, fitting.progress.mark, fitting.progress.journal_line) as journal:
        journal.lines_left = lines
        try:
            outcome = fitting.run(journal)
        except StopError:
            return False
    network.load_state_dict(outcome.weights)
    save_model(setting.folder, setting.spec, network)
    return True


def result(folder: Path) -> tuple[bytes, list[tuple[int, str]], list[dict[str, Any]]]:
    events = read_journal(folder)
    return (folder / "weights.safetensors").read_bytes(), losses_by_step(events), story(events)


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
def test_stopped_before_any_line_of_the_journal_it_ends_the_same(make_setting, data, tmp_path, options):
    options = {**options, "training": {"epochs": EPOCHS, **options["training"]}}
    assert go_on(make_setting(**options, folder=tmp_path / "whole"), data)
    expected = result(tmp_path / "whole")
    lines = len((tmp_path / "whole" / JOURNAL_FILE).read_bytes().splitlines())
    for stop in range(lines):
        setting = make_setting(**options, folder=tmp_path / str(stop))
        assert not go_on(setting, data, stop)
        go_on(setting, data, 1)
        assert go_on(setting, data)
        assert result(tmp_path / str(stop)) == expected, f"stopped before line {stop}"


@pytest.mark.parametrize("name", ["json", "safetensors", "journal"])
def test_damage_costs_time_but_changes_nothing(make_setting, data, tmp_path, name):
    whole, hurt = (make_setting(folder=tmp_path / each, training={"epochs": EPOCHS}) for each in ("whole", "hurt"))
    go_on(whole, data)
    go_on(hurt, data, 6)
    newest = max((hurt.folder / CHECKPOINT_FOLDER).iterdir()).stem
    path = hurt.folder / (JOURNAL_FILE if name == "journal" else f"{CHECKPOINT_FOLDER}/{newest}.{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert go_on(hurt, data)
    assert result(hurt.folder) == result(whole.folder)
    kept = sorted(each.name for each in (hurt.folder / CHECKPOINT_FOLDER).iterdir())
    assert kept == sorted(each.name for each in (whole.folder / CHECKPOINT_FOLDER).iterdir())


def run_killed(launcher: Launcher, folder: Path, fatal: int | None) -> None:
    Path(f"{folder}.fatal").write_text(json.dumps(fatal))
    launcher.run("training_workers:train_until_killed", folder)


def everything(folder: Path) -> dict[str, Any]:
    """All that a training leaves behind, without times."""
    facts = timeless(read_json(folder / "log/result.json"))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    tensors = [path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))]
    events = read_journal(folder)
    return {
        "facts": facts,
        "names": names,
        "tensors": tensors,
        "losses": losses_by_step(events),
        "story": story(events),
    }


@pytest.fixture(name="start")
def make_start(tmp_path: Path, sequences_folder: Path, make_config):
    def start(name: str) -> Path:
        config: PipelineConfig = make_config({"schedule": "one-cycle"})
        prepare(tmp_path / name, sequences_folder, config=config, variant=0, seed=3)
        return tmp_path / name

    return start


def test_killed_at_any_instant_it_ends_the_same(launcher, start):
    run_killed(launcher, start("whole"), None)
    expected, instants = everything(start("whole")), json.loads(Path(f"{start('whole')}.passed").read_text())
    assert instants > 35
    for fatal in range(instants):
        folder = start(f"killed-{fatal}")
        with pytest.raises(TrainingError, match="killed by SIGKILL"):
            run_killed(launcher, folder, fatal)
        run_killed(launcher, folder, None)
        assert everything(folder) == expected, f"killed at instant {fatal} of {instants}"


def test_killed_again_and_again_it_ends_the_same(launcher, start):
    run_killed(launcher, start("whole"), None)
    folder, kills = start("killed"), 0
    for fatal in (2, 9, 13, 14, 18, 23, 30):
        try:
            run_killed(launcher, folder, fatal)
        except TrainingError:
            kills += 1
    run_killed(launcher, folder, None)
    assert everything(folder) == everything(start("whole")) and kills >= 4
