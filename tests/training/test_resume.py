"""A training that was stopped and started again ends with the same bytes as one that was not."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparing import story, timeless

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.faults import FAULT, FAULT_LOG
from rnnpipe.files import read_json, write_json
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.processes.launcher import Launcher
from rnnpipe.runtime import set_threads
from rnnpipe.training.checkpoint import CHECKPOINT_FOLDER
from rnnpipe.training.job import prepare
from rnnpipe.training.journal import JOURNAL_FILE, Journal, read_journal, step_losses
from rnnpipe.training.loop import Fit
from rnnpipe.training.setting import Setting, TrainingData

pytestmark = pytest.mark.usefixtures("threads_as_before")

EPOCHS = 2
UPDATES, BATCH = 3, 30  # of an epoch, and images of each
AFTER_EACH_UPDATE = 1e-9
Damage = Callable[[bytes], bytes]

VARIANTS: dict[str, dict[str, Any]] = {
    "adam, dropout, one-cycle": {
        "name": "gru", "num_layers": 2, "dropout": 0.5, "training": {"schedule": "one-cycle"},
    },
    "adamw, cosine": {
        "name": "lstm", "training": {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "cosine"},
    },
    "sgd": {"name": "rnn", "training": {"optimizer": "sgd"}},
    "bf16": {"name": "gru", "num_layers": 2, "precision": "bf16"},  # an LSTM needs a CPU that has it
    "augmented, smoothed labels": {
        "name": "gru", "num_layers": 2, "dropout": 0.5,
        "training": {"shift_pixels": 1, "rotation_degrees": 10, "zoom_fraction": 0.1, "label_smoothing": 0.1},
    },
    "early stopping": {
        "name": "basic", "training": {"epochs": 9, "early_stopping_patience": 1, "learning_rate": 0.3},
    },
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
    use_kernels(network, setting.device, setting.precision, "auto")
    set_threads(2)
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
    return (folder / "weights.safetensors").read_bytes(), step_losses(events), story(events)


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / CHECKPOINT_FOLDER).glob("*.json"))


@pytest.fixture(name="make_saving")
def make_saving_(make_setting, tmp_path) -> Callable[..., Setting]:
    """Return a maker of settings, by the name of their folder, with a checkpoint after each update."""

    def make(place: str, training: dict[str, Any] | None = None, **options: Any) -> Setting:
        training = {"epochs": EPOCHS, "batch_size": BATCH, **(training or {})}
        setting = make_setting(**options, training=training, folder=tmp_path / place)
        return replace(setting, checkpoint_every_s=AFTER_EACH_UPDATE)

    return make


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_stopped_before_any_line_of_the_journal_it_ends_the_same(make_saving, data, options):
    whole, often = (make_saving(place, **options) for place in ("whole", "often"))
    assert go_on(replace(whole, checkpoint_every_s=1e9), data) and go_on(often, data)
    expected, events = result(whole.folder), read_journal(often.folder)
    assert result(often.folder) == expected
    for stop in range(len(events)):
        setting = make_saving(str(stop), **options)
        assert not go_on(setting, data, stop)
        go_on(setting, data, 2)
        assert go_on(setting, data)
        assert result(setting.folder) == expected, f"stopped before line {stop}"


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    half = len(content) // 2
    return content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("lines", [6, 8], ids=["newest at an epoch's end", "newest within an epoch"])
@pytest.mark.parametrize("damage", [torn, flipped, emptied])
@pytest.mark.parametrize("name", ["json", "safetensors", "journal"])
def test_damage_costs_time_but_changes_nothing(make_saving, data, *, name, damage, lines):
    whole, hurt = make_saving("whole"), make_saving("hurt")
    go_on(whole, data)
    go_on(hurt, data, lines)
    newest = checkpoints(hurt.folder)[-1]
    assert newest == ("step-0000000003-epoch-00001" if lines == 6 else "step-0000000004-epoch-00001")
    path = hurt.folder / (JOURNAL_FILE if name == "journal" else f"{CHECKPOINT_FOLDER}/{newest}.{name}")
    path.write_bytes(damage(path.read_bytes()))
    assert go_on(hurt, data)
    assert result(hurt.folder) == result(whole.folder)
    assert checkpoints(hurt.folder) == checkpoints(whole.folder)


def test_how_often_it_saves_is_a_matter_of_the_clock(make_saving, data):
    for every_s, saved in ((1e9, EPOCHS), (AFTER_EACH_UPDATE, EPOCHS * (UPDATES + 1))):
        setting = replace(make_saving(str(every_s)), checkpoint_every_s=every_s)
        go_on(setting, data)
        events = read_journal(setting.folder)
        assert sum(event["event"] in ("checkpoint", "epoch") for event in events) == saved


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
        "losses": step_losses(events),
        "story": story(events),
    }


@pytest.fixture(name="start")
def make_start(tmp_path: Path, sequences_folder: Path, make_config):
    """Return a function that prepares a training of 2 x 3 updates, augmented, with dropout, saved after each."""

    def start(name: str, checkpoint_every_s: float = AFTER_EACH_UPDATE, **changes: Any) -> Path:
        training = {"schedule": "one-cycle", "epochs": 2, "batch_size": BATCH}
        training |= {"shift_pixels": 1, "rotation_degrees": 10, "label_smoothing": 0.1}
        config: PipelineConfig = make_config(training, checkpoint_every_s=checkpoint_every_s, **changes)
        prepare(tmp_path / name, sequences_folder, config=config, variant=0, seed=3, run="r")
        return tmp_path / name

    return start


def train(launcher: Launcher, folder: Path, fault: str = "") -> None:
    write_json(Path(f"{folder}.faults"), {FAULT: fault, FAULT_LOG: f"{folder}.points"})
    launcher.run("training_workers:train_with_faults", folder)


def points(folder: Path) -> Counter[str]:
    return Counter(Path(f"{folder}.points").read_text(encoding="utf-8").splitlines())


@pytest.fixture(name="whole")
def train_whole(launcher, start) -> Path:
    """A training that nothing disturbed."""
    folder: Path = start("whole")
    train(launcher, folder)
    return folder


def assert_killed_it_ends_the_same(launcher: Launcher, folder: Path, fault: str, expected: Any) -> None:
    with pytest.raises(TrainingError, match="killed by SIGKILL"):
        train(launcher, folder, fault)
    train(launcher, folder)
    assert everything(folder) == expected, f"killed at {fault}"


def test_killed_at_each_point_it_ends_the_same(launcher, start, whole):
    expected, found = everything(whole), points(whole)
    assert {"before-append/log/journal.jsonl", "after-sync/log/journal.jsonl"} <= found.keys()
    assert {f"after-remove/step-#-epoch-#.{kind}" for kind in ("json", "safetensors")} <= found.keys()
    for number, (point, times) in enumerate(found.items()):
        fault = f"{point}:{times // 2 + 1}"
        assert_killed_it_ends_the_same(launcher, start(str(number)), fault, expected)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_instant_it_ends_the_same(launcher, start, whole):
    expected, found = everything(whole), points(whole)
    faults = [f"{point}:{time}" for point, times in found.items() for time in range(1, times + 1)]
    assert len(faults) > 200
    for number, fault in enumerate(faults):
        assert_killed_it_ends_the_same(launcher, start(str(number)), fault, expected)


def test_killed_again_and_again_it_ends_the_same(launcher, start, whole):
    folder, kills = start("killed"), 0
    rename, append = "after-rename/step-#-epoch-#", "after-append/log/journal.jsonl"
    for fault in (f"{rename}.json:1", f"{append}:6", f"{rename}.safetensors:1", f"{append}:9", f"{rename}.json:2"):
        try:
            train(launcher, folder, fault)
        except TrainingError:
            kills += 1
    train(launcher, folder)
    assert everything(folder) == everything(whole) and kills == 5


@pytest.mark.parametrize("kernels", ["torch", "compiled"])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_killed_on_any_path_and_with_more_threads_it_ends_the_same(launcher, start, name, kernels):
    net = {"name": name, "hidden_size": 8}
    whole, killed = (start(place, variants=[net], kernels=kernels, threads=2) for place in ("whole", "killed"))
    train(launcher, whole)
    expected = everything(whole)
    assert expected["facts"]["kernels"] == kernels and expected["facts"]["threads"] == 2
    assert_killed_it_ends_the_same(launcher, killed, "after-append/log/journal.jsonl:7", expected)


def terminate(launcher: Launcher, folder: Path, update: int) -> None:
    write_json(Path(f"{folder}.update"), update)
    launcher.run("training_workers:train_until_terminated", folder)


@pytest.mark.parametrize("update", [0, 1, 2, 3], ids=lambda update: f"in update {update}")
def test_asked_to_stop_it_leaves_a_checkpoint_of_that_update(launcher, start, whole, update):
    folder = start("asked", checkpoint_every_s=3600)
    with pytest.raises(TrainingError, match=f"stopped after step {update + 1}") as stopped:
        terminate(launcher, folder, update)
    assert "goes on from there" in stopped.value.fix
    assert checkpoints(folder)[-1] == f"step-{update + 1:010d}-epoch-{update // UPDATES:05d}"
    train(launcher, folder)
    (resumed,) = (event for event in read_journal(folder) if event["event"] == "resumed")
    assert (resumed["epoch"], resumed["step"], resumed["note"]) == (update // UPDATES, update + 1, "")
    found, expected = everything(folder), everything(whole)
    for same in ("facts", "losses", "story"):
        assert found[same] == expected[same]
    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("damage", [torn, flipped, emptied, lambda content: b"[1]\n" + content])
def test_a_damaged_journal_starts_the_training_over(launcher, start, whole, damage):
    folder = start("hurt")
    with pytest.raises(TrainingError, match="stopped after step 3"):
        terminate(launcher, folder, 2)
    path = folder / JOURNAL_FILE
    path.write_bytes(damage(path.read_bytes()))
    train(launcher, folder)
    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


@pytest.mark.parametrize(("damaged", "step"), [(1, 2), (2, 0)], ids=["one damaged", "all damaged"])
def test_that_a_checkpoint_was_passed_over_stands_in_the_journal(launcher, start, whole, damaged, step):
    folder = start("hurt")
    with pytest.raises(TrainingError, match="stopped after step 3"):
        terminate(launcher, folder, 2)
    hurt = sorted((folder / CHECKPOINT_FOLDER).glob("*.safetensors"))[-damaged:]
    for path in hurt:
        path.write_bytes(torn(path.read_bytes()))
    train(launcher, folder)
    (resumed,) = (event for event in read_journal(folder) if event["event"] == "resumed")
    assert resumed["step"] == step
    assert all(f"{path.stem}.json can't be used" in resumed["note"] for path in hurt)
    assert everything(folder) == everything(whole)
