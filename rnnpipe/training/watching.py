"""Some validation images whose reading is watched epoch by epoch: how belief forms while a net learns.

Shapes: n watched images, R readings, K classes.
"""

from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import nn

from rnnpipe.evaluation.belief import Beliefs, reading_steps
from rnnpipe.evaluation.order import images_of
from rnnpipe.evaluation.predict import predict
from rnnpipe.files import write_bytes
from rnnpipe.runtime import autocast
from rnnpipe.training.journal import Event
from rnnpipe.training.setting import Setting, TrainingData

WATCHED_IMAGES = 4
WATCHED_FILE = "watched.safetensors"

MAX_CLASSES = 40  # of more, neither the journal's lines nor the pictures stay small

PerMille = list[list[list[int]]]  # (n, R, K)


def watched_places(data: TrainingData) -> torch.Tensor:
    """Return the first validation image of each of the first four classes; none of more than 40 classes."""
    if data.validation_y_N is None or int(data.train_y_N.max()) >= MAX_CLASSES:
        return torch.empty(0, dtype=torch.int64)
    _, first = np.unique(data.validation_y_N.numpy(), return_index=True)
    return torch.from_numpy(np.sort(first)[:WATCHED_IMAGES])


def believed(network: nn.Module, data: TrainingData, setting: Setting) -> PerMille | None:
    """Return what a net believes of the watched images after each reading, in whole per mille, for the journal."""
    places = watched_places(data)
    if data.validation_x_NTI is None or not len(places):
        return None
    x_nTI = data.validation_x_NTI[places]
    with autocast(setting.device, setting.precision):
        found = [
            predict(network, x_nTI[:, :steps], setting.spec, setting.device, len(x_nTI)).probabilities_NK
            for steps in reading_steps(setting.spec.steps)
        ]
    per_mille: PerMille = (1000 * torch.stack(found, dim=1)).round().int().tolist()
    return per_mille


def save_watched(folder: Path, data: TrainingData, setting: Setting) -> None:
    """Write the watched images and their labels; nothing where there are none, or no way back to images."""
    places = watched_places(data)
    if data.validation_x_NTI is None or data.validation_y_N is None or not len(places):
        return
    images = images_of(data.validation_x_NTI[places], setting.spec)
    if images is not None:
        tensors = {"images": images.numpy(), "labels": data.validation_y_N[places].numpy()}
        write_bytes(folder / WATCHED_FILE, safetensors.numpy.save(tensors))


def read_watched(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Return the watched images and their labels; None where there are none."""
    if not (folder / WATCHED_FILE).exists():
        return None
    found = safetensors.numpy.load_file(folder / WATCHED_FILE)
    return found["images"], found["labels"]


def beliefs_of(event: Event, steps: int) -> Beliefs | None:
    """Return what an epoch's event says of the watched images, in a net that reads so many steps."""
    if not event.get("belief"):
        return None
    return Beliefs(np.array(reading_steps(steps)), np.array(event["belief"], dtype=np.float32) / np.float32(1000))
