"""Checkpoints: tensors in safetensors, the rest in readable JSON, each file whole or not at all.

    log/checkpoints/step-0000001234-epoch-00002.{safetensors,json}      1234 updates made, 2 epochs finished

The JSON is written last. It names the SHA-256 of the tensors beside it and carries its own. Two generations are
kept: one that is torn or altered, or whose journal is, is passed over for the one before.

Weights, optimiser, best so far, cursor and losses are all there is: the learning rate is a function of the step,
the order of the images of seed and epoch, dropout's noise of seed and step; fp32 and bf16 need no loss scaling.
"""

import hashlib
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from rnnpipe import faults
from rnnpipe.files import digest_of, read_json, sha256_file, write_bytes, write_json
from rnnpipe.training.journal import CHECKPOINT_FOLDER, JOURNAL_FILE, Mark, holds, newest_checkpoint

GENERATIONS = 2
UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError)


@dataclass
class Progress:
    """How far a training is: the cursor, the best so far, and where the journal stands."""

    epoch: int = 0  # epochs finished
    step: int = 0  # updates made; beyond the finished epochs they are the next epoch's first
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best_loss: float = sys.float_info.max
    epochs_without_gain: int = 0
    wall_s: float = 0.0  # of the finished epochs' updates
    epoch_wall_s: float = 0.0  # of the updates of the epoch under way
    epoch_losses: list[float] = field(default_factory=list)  # of those updates, each times its number of images
    mark: Mark = field(default_factory=Mark)  # where the journal's line about this checkpoint begins
    journal_line: str = ""  # that line: it is written after the checkpoint


Tensors = dict[str, torch.Tensor]


def save_checkpoint(
    folder: Path, progress: Progress, network: nn.Module, optimizer: torch.optim.Optimizer, best: Tensors
) -> None:
    """Write a checkpoint of where `progress` stands, and remove all but two generations."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items() if value is not None}
    place = folder / CHECKPOINT_FOLDER
    path = place / f"{_stem(progress)}.safetensors"
    # bytes: a full disk is then an OSError, which says so, and not one of safetensors
    content = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    write_bytes(path, content)
    record = {"tensors_sha256": hashlib.sha256(content).hexdigest(), "progress": asdict(progress)}
    write_json(path.with_suffix(".json"), {**record, "record_sha256": digest_of(record)})
    _remove_others(place, _stem(progress))


def load_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, Tensors, list[str]]:
    """Restore the newest whole checkpoint into network and optimiser; what a kill left beside it is removed.

    Returns how far it is, the best weights so far, and what is wrong with each newer checkpoint that was passed
    over. Where none can be used, network and optimiser stay as they are, and it is the progress of a start.
    """
    passed_over: list[str] = []
    for path in sorted((folder / CHECKPOINT_FOLDER).glob("step-*.json"), reverse=True):
        try:
            progress, tensors = _read(path)
            if not holds(folder, progress.mark):
                raise ValueError("the journal isn't the one it was written with")
        except UNUSABLE as error:
            passed_over.append(f"checkpoint {path.name} can't be used: {error}")
            continue
        network.load_state_dict(_below(tensors, "network."))
        _restore_optimizer(optimizer, _below(tensors, "optimizer."))
        _remove_others(path.parent, path.stem)
        return progress, _below(tensors, "best."), passed_over
    _remove_others(folder / CHECKPOINT_FOLDER, "")
    return Progress(), {}, passed_over


def take_checkpoint(folder: Path) -> Tensors:
    """Return the files of the newest checkpoint, and the journal, by name, as bytes (uint8); none without one."""
    newest = newest_checkpoint(folder)
    if not newest:
        return {}
    names = [f"{CHECKPOINT_FOLDER}/{newest}{suffix}" for suffix in (".safetensors", ".json")]
    content = {name: bytearray((folder / name).read_bytes()) for name in (*names, JOURNAL_FILE)}
    return {name: torch.frombuffer(each, dtype=torch.uint8) for name, each in content.items()}


def put_checkpoint(folder: Path, files: Tensors) -> None:
    """Make a folder hold what `take_checkpoint` returned, and no other checkpoint."""
    for path in (folder / CHECKPOINT_FOLDER).glob("*"):
        path.unlink()
    for name, content in files.items():
        write_bytes(folder / name, content.numpy().tobytes())


def _stem(progress: Progress) -> str:
    """Return a name that sorts as the cursor does."""
    return f"step-{progress.step:010d}-epoch-{progress.epoch:05d}"


def _remove_others(place: Path, newest: str) -> None:
    """Remove all but a checkpoint and the one before it: older ones, torn ones, those of a lost journal."""
    stems = sorted(path.stem for path in place.glob("step-*.json") if path.stem <= newest)
    for file in sorted(place.glob("*")):
        if file.stem not in stems[-GENERATIONS:]:
            with faults.around("remove", file.name):
                file.unlink()


def _read(path: Path) -> tuple[Progress, Tensors]:
    """Return what a checkpoint holds; one of UNUSABLE where it isn't what was written."""
    record = read_json(path)
    written = record.pop("record_sha256")
    if digest_of(record) != written:
        raise ValueError("it is not what was written")
    progress = Progress(**{**record["progress"], "mark": Mark(**record["progress"]["mark"])})
    if sha256_file(path.with_suffix(".safetensors")) != record["tensors_sha256"]:
        raise ValueError("the tensors are not those it was written with")
    return progress, safetensors.torch.load_file(path.with_suffix(".safetensors"))


def _below(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    state: dict[int, Tensors] = {}
    for name, value in tensors.items():
        number, _, field_name = name.partition(".")
        state.setdefault(int(number), {})[field_name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
