import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from rnnpipe.config.sections import TrainingConfig
from rnnpipe.training.checkpoint import CHECKPOINT_FOLDER, Progress, load_checkpoint, save_checkpoint
from rnnpipe.training.journal import event_line
from rnnpipe.training.optimization import build_optimizer

OPTIMIZERS = {
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.1},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0},
}
SETTINGS = {"best_accuracy": 1 / 3, "best_loss": 0.1 + 0.2, "wall_s": 1e-7, "journal_line": "é\n"}


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
        save_checkpoint(folder, Progress(epoch), network, optimizer, copy.deepcopy(dict(network.state_dict())))
    return network, optimizer


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
    found = load_checkpoint(tmp_path, other, its_optimizer)
    assert found is not None and found[0] == progress
    assert_same(found[1], best)
    update(network, optimizer)
    update(other, its_optimizer)
    assert_same(dict(network.state_dict()), dict(other.state_dict()))
    first, second = optimizer.state_dict(), its_optimizer.state_dict()
    assert first["param_groups"] == second["param_groups"] and first["state"].keys() == second["state"].keys()
    for number in first["state"]:
        assert_same(first["state"][number], second["state"][number])


def test_nothing_saved_is_nothing_found(tmp_path):
    assert load_checkpoint(tmp_path, *make({})) is None


def test_two_generations_are_kept_and_none_is_a_pickle(tmp_path):
    save(tmp_path, 12)
    kept = ["epoch-00011.json", "epoch-00011.safetensors", "epoch-00012.json", "epoch-00012.safetensors"]
    assert names(tmp_path) == kept


def test_what_kills_left_is_removed(tmp_path):
    save(tmp_path, 2)
    place = tmp_path / CHECKPOINT_FOLDER
    for name in (
        "epoch-00001.safetensors",
        ".epoch-00002.json.x.tmp",
        "epoch-00009.json",
        "epoch-00009.safetensors",
    ):
        place.joinpath(name).touch()
    network, optimizer = make({})
    save_checkpoint(tmp_path, Progress(3), network, optimizer, {})
    assert names(tmp_path) == [f"epoch-0000{n}.{kind}" for n in (2, 3) for kind in ("json", "safetensors")]


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
def test_a_damaged_generation_is_passed_over_for_the_one_before(tmp_path, kind, damage, caplog):
    save(tmp_path, 2)
    path = tmp_path / CHECKPOINT_FOLDER / f"epoch-00002.{kind}"
    path.write_bytes(damage(path.read_bytes()))
    network, optimizer = make({}, seed=1)
    found = load_checkpoint(tmp_path, network, optimizer)
    assert found is not None and found[0].epoch == 1 and "epoch-00002.json can't be used" in caplog.text
    assert_same(dict(network.state_dict()), found[1])


def test_json_without_its_tensors_is_passed_over(tmp_path):
    save(tmp_path, 2)
    (tmp_path / CHECKPOINT_FOLDER / "epoch-00002.safetensors").unlink()
    found = load_checkpoint(tmp_path, *make({}))
    assert found is not None and found[0].epoch == 1


def test_a_checkpoint_whose_journal_is_lost_is_not_used(open_journal, tmp_path):
    journal = open_journal(tmp_path)
    journal.append(event_line("start"))
    network, optimizer = make({})
    save_checkpoint(tmp_path, Progress(1, mark=journal.sync()), network, optimizer, {})
    journal.append(event_line("steps"))
    assert load_checkpoint(tmp_path, network, optimizer) is not None
    open_journal(tmp_path)
    assert load_checkpoint(tmp_path, network, optimizer) is None


def test_the_record_can_be_read(tmp_path):
    save(tmp_path, 1)
    record = json.loads((tmp_path / CHECKPOINT_FOLDER / "epoch-00001.json").read_text(encoding="utf-8"))
    assert record["progress"]["epoch"] == 1 and len(record["tensors_sha256"]) == 64
