"""What `growth` measures, one size in a process of its own: `python -m benchmarks.growing KIND SIZE FOLDER`.

It prints a line of JSON: seconds, and the most memory it used meanwhile, in MiB.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks.loops import BATCH, CPU, SIDE, facts_of, spec_of, synthetic_images
from benchmarks.memory import PeakMemory
from rnnpipe.config import PipelineConfig
from rnnpipe.config.training import TrainingConfig
from rnnpipe.data.arrays import write_array, write_pixels
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import write_json
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.runtime import seed_everything, set_threads
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting, TrainingData
from rnnpipe.training.work import Assignment, run_training

TILE = 10_000  # images that are repeated
UPDATES = 3
LOOK_EVERY_S = 0.01
PIXELS = SIDE * SIDE
TINY_NET = {"name": "rnn", "hidden_size": 8, "num_layers": 1}
TINY = {
    "name": "growth",
    "data": {"name": "digits", "validation_fraction": 0},
    "variants": [TINY_NET],
    "training": {"epochs": 1, "batch_size": 1000, "preflight": False},
    "execution": {"device": "cpu", "threads": 1, "precision": "fp32"},
}


def write_sequences(folder: Path, total: int) -> None:
    """Write a sequences folder of this many images, a tile of synthetic ones repeated, a piece at a time."""
    images_NHW, labels_N = synthetic_images(TILE)
    chosen = np.arange(total) % TILE
    write_pixels(folder / "train_x.npy", images_NHW, chosen, item_shape=(SIDE, SIDE))
    write_array(folder / "train_y.npy", labels_N[chosen])
    write_json(folder / "manifest.json", {"facts": facts_of(SIDE, SIDE)})


def train_from_disk(sequences: Path) -> float:
    """Train a tiny net for an epoch as a run does, with journal and checkpoints; return the seconds it took."""
    config, folder = PipelineConfig.model_validate(TINY), sequences / f"run-{os.getpid()}"
    (folder / "log").mkdir(parents=True)
    started_s = perf_counter()
    run_training(Assignment(folder, sequences, config, config.variants[0], seed=0, run="growth"))
    return perf_counter() - started_s


def train_in_memory(spec: ModelSpec) -> float:
    """Train for a few updates; return the seconds an update took, the first, which warms up, not counted."""
    config = TrainingConfig(epochs=1, batch_size=BATCH, gradient_clip_norm=None)
    set_threads(1)
    seed_everything(0)
    network = build_network(spec, seed=0)
    use_kernels(network, CPU, "fp32", "auto")
    taken_s = 0.0
    for updates in (1, UPDATES):
        images_NHW, labels_N = synthetic_images(updates * BATCH)
        x_NTI = torch.from_numpy(images_NHW).reshape(-1, spec.steps, spec.features)
        started_s = perf_counter()
        fit(network, TrainingData(x_NTI, torch.from_numpy(labels_N)), Setting(spec, config, 0, CPU, "fp32"))
        taken_s = (perf_counter() - started_s) / updates
    return taken_s


def main(kind: str, size: int, folder: Path) -> None:
    """Do the work of a kind and size, and print what it took."""
    with PeakMemory(lambda: [os.getpid()], LOOK_EVERY_S) as memory:
        if kind == "images":
            wall_s = train_from_disk(folder)
        elif kind == "steps":
            wall_s = train_in_memory(spec_of("gru", steps=size, features=PIXELS // size))
        else:
            wall_s = train_in_memory(spec_of("gru", hidden_size=size))
    print(json.dumps({"wall_s": wall_s, **memory.peak._asdict()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
