"""The training and validation images of a sequences folder, as tensors."""

from pathlib import Path

import torch

from rnnpipe.data.stages import open_split
from rnnpipe.training.setting import TrainingData


def open_training_data(folder: Path, device: torch.device) -> TrainingData:
    """Return the splits of a sequences folder: memory-mapped for the CPU, copied once to any other device."""
    train, validation = open_split(folder, "train"), open_split(folder, "validation")
    assert train is not None, "every sequences folder has training images"
    return TrainingData(
        torch.from_numpy(train.x_NTI).to(device),
        torch.from_numpy(train.y_N).to(device),
        torch.from_numpy(validation.x_NTI) if validation else None,
        torch.from_numpy(validation.y_N) if validation else None,
    )
