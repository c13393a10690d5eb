"""Checkpoints: tensors in safetensors, the rest in readable JSON, each file whole or not at all.

The JSON is written last and names the SHA-256 of the tensors beside it. Two generations are kept: one that is torn
or altered is passed over for the one before.
"""

import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from rnnpipe.files import atomic_path, read_json, sha256_file, write_json

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
    journal_position: int = 0  # the journal's bytes, with the line of the epoch that this checkpoint ends
    journal_line: str = ""


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
    stem = f"epoch-{progress.epoch:05d}"
    with atomic_path(place / f"{stem}.safetensors") as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary)
    digest = sha256_file(place / f"{stem}.safetensors")
    write_json(place / f"{stem}.json", {"tensors_sha256": digest, "progress": asdict(progress)})
    for old in sorted(place.glob("epoch-*.json"))[:-GENERATIONS]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Tensors] | None:
    """Restore the newest whole checkpoint into network and optimiser; None where there is none."""
    for path in sorted((folder / CHECKPOINT_FOLDER).glob("epoch-*.json"), reverse=True):
        try:
            record = read_json(path)
            progress = Progress(**record["progress"])
            if sha256_file(path.with_suffix(".safetensors")) != record["tensors_sha256"]:
                raise ValueError("the tensors are not those it was written with")
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("checkpoint %s can't be used (%s); trying the one before", path.name, error)
            continue
        tensors = load_file(path.with_suffix(".safetensors"))
        network.load_state_dict(_below(tensors, "network."))
        _restore_optimizer(optimizer, _below(tensors, "optimizer."))
        return progress, _below(tensors, "best.")
    return None


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        number, _, field_name = name.partition(".")
        state.setdefault(int(number), {})[field_name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
