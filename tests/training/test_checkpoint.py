import copy
import errno
import json
import math
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from rnnpipe.config.training import TrainingConfig
from rnnpipe.files import digest_of, sha256_file, write_json
from rnnpipe.training.checkpoint import CHECKPOINT_FOLDER, Progress, load_checkpoint, save_checkpoint
from rnnpipe.training.journal import event_line
from rnnpipe.training.optimization import build_optimizer

OPTIMIZERS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.1},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0},
}
SETTINGS = {
    "best_accuracy": 1 / 3,
    "best_loss": 0.1 + 0.2,
    "wall_s": 1e-7,
    "epoch_losses": [math.pi, 5e-324, 1e300],
    "journal_line": "é\n",
}


def make(options: dict[str, object], seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    network = nn.GRU(4, 3)
    return network, build_optimizer(network.parameters(), TrainingConfig.model_validate(options))


def update(network: nn.Module, optimizer: torch.optim.Optimizer, times: int = 3) -> None:
    x_BTI = torch.linspace(0, 1, 40).view(2, 5, 4)
    for _ in range(times):
        optimizer.zero_grad()
        network(x_BTI)[0].square().mean().backward()
        optimizer.step()


def save(folder: Path, epochs: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Save as many generations, one update apart."""
    network, optimizer = make(OPTIMIZERS["adam"])
    for epoch in range(1, epochs + 1):
        update(network, optimizer, 1)
        best = copy.deepcopy(dict(network.state_dict()))
        save_checkpoint(folder, Progress(epoch, 10 * epoch), network, optimizer, best)
    return network, optimizer


def stem(epoch: int, step: int | None = None) -> str:
    """The name of a checkpoint that `save` made, or of one within an epoch."""
    return f"step-{10 * epoch if step is None else step:010d}-epoch-{epoch:05d}"


def both(*stems: str) -> list[str]:
    return [f"{stem}.{kind}" for stem in stems for kind in ("json", "safetensors")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / CHECKPOINT_FOLDER).iterdir())


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("options", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_network_optimizer_and_progress_come_back_to_the_bit(open_journal, tmp_path, options):
    network, optimizer = make(options)
    update(network, optimizer)
    journal = open_journal(tmp_path)
    journal.append(event_line("start"))
    progress = Progress(2, 6, 1, **SETTINGS, mark=journal.sync())
    best = {name: value + 1 for name, value in network.state_dict().items()}
    save_checkpoint(tmp_path, progress, network, optimizer, best)

    other, its_optimizer = make(options, seed=1)
    found, its_best, passed_over = load_checkpoint(tmp_path, other, its_optimizer)
    assert (found, passed_over) == (progress, [])
    assert_same(its_best, best)
    update(network, optimizer)
    update(other, its_optimizer)
    assert_same(dict(network.state_dict()), dict(other.state_dict()))
    first, second = optimizer.state_dict(), its_optimizer.state_dict()
    assert first["param_groups"] == second["param_groups"] and first["state"].keys() == second["state"].keys()
    for number in first["state"]:
        assert_same(first["state"][number], second["state"][number])


def test_nothing_saved_is_nothing_found(tmp_path):
    assert load_checkpoint(tmp_path, *make({})) == (Progress(), {}, [])


def test_two_generations_are_kept_and_none_is_a_pickle(tmp_path):
    save(tmp_path, 12)
    assert names(tmp_path) == both(stem(11), stem(12))


def test_the_end_of_an_epoch_is_newer_than_its_last_update(tmp_path):
    network, optimizer = make({})
    for progress in (Progress(8, 80), Progress(9, 95), Progress(9, 100), Progress(10, 100)):
        save_checkpoint(tmp_path, progress, network, optimizer, {})
        assert load_checkpoint(tmp_path, network, optimizer)[0] == progress
    assert names(tmp_path) == both(stem(9, 100), stem(10, 100))


def leave_what_kills_leave(folder: Path) -> None:
    place = folder / CHECKPOINT_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    for name in (f"{stem(1)}.safetensors", f".{stem(2)}.json.x.tmp", *both(stem(9)), f"{stem(3)}.safetensors"):
        (place / name).touch()


def test_what_kills_left_is_removed_by_the_next_checkpoint(tmp_path):
    save(tmp_path, 2)
    leave_what_kills_leave(tmp_path)
    network, optimizer = make({})
    save_checkpoint(tmp_path, Progress(3, 30), network, optimizer, {})
    assert names(tmp_path) == both(stem(2), stem(3))


@pytest.mark.parametrize("saved", [0, 1, 2])
def test_what_kills_left_is_removed_by_a_resume(tmp_path, saved):
    save(tmp_path, saved)
    leave_what_kills_leave(tmp_path)
    progress, _, passed_over = load_checkpoint(tmp_path, *make({}))
    assert progress.epoch == saved and len(passed_over) == 1 and f"{stem(9)}.json can't be used" in passed_over[0]
    assert names(tmp_path) == both(*(stem(epoch) for epoch in range(1, saved + 1)))


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Change one bit of a digit in the middle, so that JSON stays JSON."""
    place = next(place for place in range(len(content) // 2, len(content)) if chr(content[place]).isdigit())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
@pytest.mark.parametrize(
    "damage", [torn, flipped, lambda content: b"", lambda content: b"[]", lambda content: b"1"]
)
def test_a_damaged_generation_is_passed_over_for_the_one_before(tmp_path, kind, damage):
    save(tmp_path, 2)
    path = tmp_path / CHECKPOINT_FOLDER / f"{stem(2)}.{kind}"
    path.write_bytes(damage(path.read_bytes()))
    network, optimizer = make({}, seed=1)
    progress, best, passed_over = load_checkpoint(tmp_path, network, optimizer)
    assert progress.epoch == 1 and len(passed_over) == 1 and f"{stem(2)}.json can't be used: " in passed_over[0]
    assert_same(dict(network.state_dict()), best)


def test_where_every_generation_is_damaged_nothing_is_changed_but_told(tmp_path):
    save(tmp_path, 2)
    for path in (tmp_path / CHECKPOINT_FOLDER).iterdir():
        path.write_bytes(b"")
    network, optimizer = make({}, seed=1)
    before = copy.deepcopy(dict(network.state_dict()))
    progress, best, passed_over = load_checkpoint(tmp_path, network, optimizer)
    assert (progress, best, len(passed_over)) == (Progress(), {}, 2)
    assert_same(dict(network.state_dict()), before)
    assert not optimizer.state_dict()["state"]


def test_json_without_its_tensors_is_passed_over(tmp_path):
    save(tmp_path, 2)
    (tmp_path / CHECKPOINT_FOLDER / f"{stem(2)}.safetensors").unlink()
    assert load_checkpoint(tmp_path, *make({}))[0].epoch == 1


def test_a_checkpoint_whose_journal_is_lost_is_not_used(open_journal, tmp_path):
    journal = open_journal(tmp_path)
    journal.append(event_line("start"))
    network, optimizer = make({})
    save_checkpoint(tmp_path, Progress(1, mark=journal.sync()), network, optimizer, {})
    journal.append(event_line("steps"))
    assert load_checkpoint(tmp_path, network, optimizer)[0].epoch == 1
    open_journal(tmp_path)
    progress, _, passed_over = load_checkpoint(tmp_path, network, optimizer)
    assert progress == Progress() and "journal" in passed_over[0]


def test_the_record_can_be_read(tmp_path):
    save(tmp_path, 1)
    record = json.loads((tmp_path / CHECKPOINT_FOLDER / f"{stem(1)}.json").read_text(encoding="utf-8"))
    assert record["progress"]["epoch"] == 1 and len(record["tensors_sha256"]) == 64


def test_tensors_that_are_none_are_passed_over_whatever_their_digest_says(tmp_path):
    save(tmp_path, 2)
    path = tmp_path / CHECKPOINT_FOLDER / f"{stem(2)}.safetensors"
    path.write_bytes(b"no tensors")
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    record["tensors_sha256"] = sha256_file(path)
    del record["record_sha256"]
    write_json(path.with_suffix(".json"), {**record, "record_sha256": digest_of(record)})
    progress, _, passed_over = load_checkpoint(tmp_path, *make({}))
    assert progress.epoch == 1 and f"{stem(2)}.json can't be used: " in passed_over[0]


def test_a_full_disk_says_so(tmp_path):
    network, optimizer = make({})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            save_checkpoint(tmp_path, Progress(1, 10), network, optimizer, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG and names(tmp_path) == []
