"""Whether a model made again is the same: losses step by step, epochs, weights, predictions; else, why not."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from rnnpipe.errors import DataError
from rnnpipe.evaluation.report import PREDICTIONS_FILE
from rnnpipe.evaluation.spec import SPEC_FILE, WEIGHTS_FILE
from rnnpipe.files import sha256_file
from rnnpipe.store import Entry
from rnnpipe.tracking.record import Record, losses_digest
from rnnpipe.training.journal import JOURNAL_FILE, Event, epochs_of, read_journal, step_losses

ROUNDING = 1e-4  # relative; sums in another order differ by less at the first step that differs at all
COMPARED = ("train_loss", "validation_loss", "validation_accuracy")  # of an epoch


@dataclass(frozen=True)
class Difference:
    """The first thing that differs, and why it most likely does."""

    what: str
    cause: str


@dataclass(frozen=True)
class Outcome:
    """How making a model again came out, and the sentence that says so."""

    same: bool
    text: str


def compare(
    recorded: Path, record: Record, training: Entry, evaluation: Path, *, mismatches: list[str]
) -> Outcome:
    """Compare a training and its evaluation with the files a version carries, in the folder `recorded`.

    `mismatches` say in what this machine isn't the one of the record.
    """
    then, here = _events(recorded / Path(JOURNAL_FILE).name), read_journal(training.path)
    difference = (
        (None if losses_digest(here) == record.losses_digest else _of_losses(then, here))
        or _of_epochs(then, here)
        or _of_weights(recorded, record, training.path)
        or _of_predictions(recorded, record, evaluation)
    )
    if difference is not None:
        here_differ = f"; on this machine differ {'; '.join(mismatches)}" if mismatches else ""
        return Outcome(False, f"DIFFERENT: {difference.what}; likely cause: {difference.cause}{here_differ}")
    losses, epochs = len(step_losses(here)), len(epochs_of(here))
    images = len(_predictions(evaluation))
    proof = f"weights {record.files[WEIGHTS_FILE]}, {losses} losses, {epochs} epochs, {images} predictions"
    although = f", although here differ {'; '.join(mismatches)}" if mismatches else ""
    return Outcome(True, f"SAME: {proof}{although}")


def _events(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _of_losses(then: list[Event], here: list[Event]) -> Difference | None:
    per_epoch = next((event["updates_per_epoch"] for event in then if event["event"] == "start"), 1)
    recorded, found = step_losses(then), step_losses(here)
    for (step, loss), (_, other) in zip(recorded, found, strict=False):
        if loss != other:
            what = (
                f"step {step} (epoch {step // per_epoch + 1}) is the first that differs: its loss was"
                f" {loss!r} ({loss.hex()}), here {other!r} ({other.hex()})"
            )
            return Difference(what, _cause(step, abs(loss - other) / max(abs(loss), abs(other))))
    if len(recorded) != len(found):
        what = f"it ended after {len(recorded)} steps, here after {len(found)}"
        return Difference(what, "another number of epochs, or validation that stopped it at another one")
    return None


def _cause(step: int, relative: float) -> str:
    if relative < ROUNDING:
        return (
            f"rounding (relative difference {relative:.1g}): the same sums in another order, as other threads,"
            " CPUs, devices and torch builds have them, or an operation that isn't deterministic"
        )
    if step == 0:
        return (
            "another beginning: other starting weights or other first images (seed, variant, images, their code)"
        )
    return "another course from here on: order of the images, dropout, optimiser or schedule (seed, config, code)"


def _of_epochs(then: list[Event], here: list[Event]) -> Difference | None:
    for recorded, found in zip(epochs_of(then), epochs_of(here), strict=False):
        for name in COMPARED:
            if recorded[name] != found[name]:
                what = f"the {name} of epoch {recorded['epoch']} was {recorded[name]!r}, here {found[name]!r}"
                cause = "the weights after the epoch's last step, or how validation is computed (code, batch, CPU)"
                return Difference(f"all losses are the same, but {what}", cause)
    return None


def _of_weights(recorded: Path, record: Record, training: Path) -> Difference | None:
    if sha256_file(training / WEIGHTS_FILE) != record.files[WEIGHTS_FILE]:
        then, here = (safetensors.numpy.load_file(path / WEIGHTS_FILE) for path in (recorded, training))
        names = [name for name in sorted(then.keys() | here.keys()) if not _equal(then.get(name), here.get(name))]
        what = f"all losses and epochs are the same, but not the weights: {', '.join(names) or 'their file'}"
        return Difference(what, "the epoch whose weights are kept, or how they are written (code, safetensors)")
    if sha256_file(training / SPEC_FILE) != record.files[SPEC_FILE]:
        return Difference(f"the weights are the same, but not {SPEC_FILE}", "what the code writes there changed")
    return None


def _of_predictions(recorded: Path, record: Record, evaluation: Path) -> Difference | None:
    if sha256_file(evaluation / PREDICTIONS_FILE) == record.files[PREDICTIONS_FILE]:
        return None
    then_NK, here_NK = _predictions(recorded), _predictions(evaluation)
    what = "but not the predictions' file"
    if then_NK.shape != here_NK.shape:
        what = f"but there were predictions of the shape {then_NK.shape}, here {here_NK.shape}"
    elif len(images := np.flatnonzero((then_NK != here_NK).any(axis=1))):
        what = f"but not the predictions of {len(images)} test images, first image {images[0]}"
    return Difference(
        f"losses, epochs and weights are the same, {what}", "how the evaluation computes (code, batch, CPU)"
    )


def _predictions(folder: Path) -> NDArray[np.float32]:
    path = folder / PREDICTIONS_FILE
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            probabilities_NK: NDArray[np.float32] = file.get_tensor("probabilities")
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} holds no predictions: {error}", "the version isn't one that rnnpipe made"
        ) from None
    return probabilities_NK


def _equal(then: NDArray[Any] | None, here: NDArray[Any] | None) -> bool:
    return then is not None and here is not None and bool(np.array_equal(then, here))
