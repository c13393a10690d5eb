"""One way from MNIST's files to the accuracy, in a process of its own, so that none finds what another left.

`python -m benchmarks.recipe WAY VARIANT SEED THREADS FOLDER [quick]` prints a line of JSON: seconds and accuracy.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.evaluation import EVALUATION_BATCH, tutorial_count
from benchmarks.loops import BATCH, CPU, TutorialImages, TutorialLoop
from benchmarks.suite import ROOT
from rnnpipe.config import PipelineConfig
from rnnpipe.config.loading import load_config
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, open_split, sequences_recipe
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.predict import predict
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.runtime import seed_everything, set_threads
from rnnpipe.store import Entry, Store
from rnnpipe.training.data import open_training_data
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting

REFERENCE = "tutorial"
TUTORIAL_EPOCHS = 2
CONFIGS = {
    REFERENCE: "tutorial-rows.yaml",
    "sprint": "sprint.yaml",
    "sprint, torch": "sprint.yaml",
    "mnist": "mnist.yaml",
}
QUICK_IMAGES = 1000


class Place:
    """A recipe's config, and the images and sequences that it trains on."""

    def __init__(self, config: PipelineConfig, dataset: Entry, sequences: Entry) -> None:
        self.config, self.dataset, self.sequences = config, dataset.path, sequences.path
        self.facts, self.limit = sequences.ref.facts, config.data.limit


def place_of(way: str, folder: Path, quick: bool) -> Place:
    """Return the place of a way below a folder, made if it isn't there."""
    overrides = [f"data.limit={QUICK_IMAGES}", "training.epochs=1"] if quick else []
    config, store = load_config(ROOT / "configs" / CONFIGS[way], overrides), Store(folder / "store")
    dataset = store.ensure(
        dataset_recipe(config.data),
        lambda target: build_dataset(config.data, folder / "downloads", target),
        "benchmark",
    )
    sequences = store.ensure(
        sequences_recipe(dataset.ref, config.data, config.sequence),
        lambda target: build_sequences(dataset, config.data, config.sequence, target),
        "benchmark",
    )
    return Place(config, dataset, sequences)


def run_tutorial(variant: str, place: Place, seed: int) -> float:
    """Read MNIST, train as the tutorial does, test as it does; return the test accuracy."""
    images = {
        split: TutorialImages(
            np.load(place.dataset / f"{split}_images.npy", allow_pickle=False)[: place.limit],
            np.load(place.dataset / f"{split}_labels.npy", allow_pickle=False)[: place.limit],
        )
        for split in ("train", "test")
    }
    torch.manual_seed(seed)
    loop = TutorialLoop(variant, images["train"].data.numpy(), images["train"].targets.numpy(), seed=seed)
    for _ in range(TUTORIAL_EPOCHS):
        loop.train()
    return tutorial_count(loop.network, DataLoader(images["test"], BATCH)) / len(images["test"])


def run_recipe(variant: str, place: Place, way: str, seed: int) -> float:
    """Read MNIST's sequences, train as the config says, test the best epoch; return the test accuracy."""
    chosen = next(each for each in place.config.variants if each.name == variant)
    spec = ModelSpec.of(place.facts, chosen)
    seed_everything(seed)
    network = build_network(spec, seed)
    use_kernels(network, CPU, "fp32", "torch" if way.endswith("torch") else "auto")
    setting = Setting(spec, place.config.training_of(chosen), seed, CPU, "fp32")
    network.load_state_dict(fit(network, open_training_data(place.sequences, CPU), setting).weights)
    test = open_split(place.sequences, "test")
    assert test is not None, "MNIST has test images"
    found = predict(network, torch.from_numpy(test.x_NTI), spec, CPU, EVALUATION_BATCH)
    return float((found.probabilities_NK.argmax(dim=1).numpy() == test.y_N).mean())


def main(way: str, variant: str, seed: int, threads: int, place: Place) -> None:
    """Go one way, and print the seconds and the accuracy."""
    set_threads(threads)
    started_s = perf_counter()
    accuracy = run_tutorial(variant, place, seed) if way == REFERENCE else run_recipe(variant, place, way, seed)
    print(json.dumps({"wall_s": perf_counter() - started_s, "accuracy": accuracy}))


if __name__ == "__main__":
    named, net, number, count, where, *rest = sys.argv[1:]
    main(named, net, int(number), int(count), place_of(named, Path(where), bool(rest)))
