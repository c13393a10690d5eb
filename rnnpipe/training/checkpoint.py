"""Checkpoints: tensors in safetensors, the rest in readable JSON, each file whole or not at all.

The JSON is written last. It names the SHA-256 of the tensors beside it and carries its own. Two generations are
kept: one that is torn or altered, or whose journal is, is passed over for the one before.
"""

import logging
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rnnpipe.files import atomic_path, digest_of, read_json, sha256_file, write_json
from rnnpipe.training.journal import Mark, holds

CHECKPOINT_FOLDER = "log/checkpoints"
GENERATIONS = 2

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a training is: the cursor, the best so far, and where the journal stands."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = sys.float_info.max
    epochs_without_gain: int = 0
    wall_s: float = 0.0
    mark: Mark = field(default_factory=Mark)  # where the journal's line of this epoch begins
    journal_line: str = ""  # that line: it is written after the checkpoint


Tensors = dict[str, torch.Tensor]


def save_checkpoint(
    folder: Path, progress: Progress, network: nn.Module, optimizer: torch.optim.Optimizer, best: Tensors
) -> None:
    """Write a checkpoint of the epoch that `progress` stands at, and remove all but two generations."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items() if value is not None}
    place = folder / CHECKPOINT_FOLDER
    path = place / f"{_stem(progress.epoch)}.safetensors"
    with atomic_path(path) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    record = {"tensors_sha256": sha256_file(path), "progress": asdict(progress)}
    write_json(path.with_suffix(".json"), {**record, "record_sha256": digest_of(record)})
    _remove_others(place, progress.epoch)


def load_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Tensors] | None:
    """Restore the newest whole checkpoint into network and optimiser; None where there is none.

    Returns how far it is and the best weights so far. What a kill left beside it is removed.
    """
    for path in sorted((folder / CHECKPOINT_FOLDER).glob("epoch-*.json"), reverse=True):
        try:
            progress, tensors = _read(path)
            if not holds(folder, progress.mark):
                raise ValueError("the journal isn't the one it was written with")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("checkpoint %s can't be used (%s); trying the one before", path.name, error)
            continue
        network.load_state_dict(_below(tensors, "network."))
        _restore_optimizer(optimizer, _below(tensors, "optimizer."))
        _remove_others(path.parent, progress.epoch)
        return progress, _below(tensors, "best.")
    return None


def _remove_others(place: Path, epoch: int) -> None:
    """Remove what isn't of this epoch or the generations before: old ones, torn ones, those of a lost journal."""
    kept = {_stem(epoch - age) for age in range(GENERATIONS)}
    for file in sorted(place.iterdir()):
        if file.stem not in kept:
            file.unlink()


def _stem(epoch: int) -> str:
    return f"epoch-{epoch:05d}"


def _read(path: Path) -> tuple[Progress, Tensors]:
    """Return what a checkpoint holds; ValueError, KeyError or TypeError where it isn't what was written."""
    record = read_json(path)
    written = record.pop("record_sha256")
    if digest_of(record) != written:
        raise ValueError("it is not what was written")
    progress = Progress(**{**record["progress"], "mark": Mark(**record["progress"]["mark"])})
    if sha256_file(path.with_suffix(".safetensors")) != record["tensors_sha256"]:
        raise ValueError("the tensors are not those it was written with")
    return progress, load_file(path.with_suffix(".safetensors"))


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        number, _, field_name = name.partition(".")
        state.setdefault(int(number), {})[field_name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
