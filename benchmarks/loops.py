"""The training loops that are compared: the one tutorials teach, a Lightning trainer, rnnpipe's; the same work."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from benchmarks.rounds import Contender
from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.config.training import TrainingConfig
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.models.kernels.choice import IN_THREADS, use_kernels
from rnnpipe.runtime import Precision, give_threads_to_kernels, seed_everything
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting, TrainingData

BATCH = 100
LEARNING_RATE = 1e-3
SIDE = 28
CPU = torch.device("cpu")
# Where `make bench` puts Lightning: MLflow imports one that it finds, which would cost each export seconds.
ASIDE = Path(sys.prefix) / "lightning"
Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def synthetic_images(total: int) -> tuple[Pixels, Labels]:
    """Return random images of MNIST's shape, and labels: the speed doesn't depend on what they show."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (total, SIDE, SIDE), dtype=np.uint8), random.integers(0, 10, total)


def spec_of(variant: str, *, steps: int = SIDE, features: int = SIDE, **settings: Any) -> ModelSpec:
    """Return the spec of a variant on rows of MNIST's shape, in its tutorial's size unless settings say more."""
    return ModelSpec.of(facts_of(steps, features), VariantConfig(name=variant, **settings))


def facts_of(steps: int, features: int) -> dict[str, Any]:
    """Return the facts of the sequences stage for synthetic images."""
    return {
        "dataset": {"name": "synthetic", "digest": ""},
        "classes": [str(digit) for digit in range(10)],
        "image_size": [SIDE, SIDE],
        "sequence": SequenceConfig().model_dump(),
        "steps": steps,
        "features": features,
        "mean": 0.0,
        "deviation": 1.0,
    }


def network_with(spec: ModelSpec, kernels: str) -> tuple[nn.Module | None, str]:
    """Return an fp32 net that computes with "torch" or "compiled" kernels, and why those; None where it can't."""
    network = build_network(spec, seed=0)
    found, reason = use_kernels(network, CPU, "fp32", "auto" if kernels == "compiled" else kernels)
    return (network if found == kernels else None), reason


def with_threads_for(network: nn.Module | None, work: Contender) -> Contender:
    """Return a contender that first gives the process's threads to those who compute: torch, or the kernels."""
    encoder = getattr(network, "encoder", None)

    def run() -> float | None:
        give_threads_to_kernels(getattr(encoder, "compute", None) in IN_THREADS)
        return work()

    return run


class TutorialImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's MNIST gives them: a PIL image an item, made a float tensor by ToTensor."""

    def __init__(self, images_NHW: Pixels, labels_N: Labels) -> None:
        self.data, self.targets = torch.from_numpy(images_NHW), torch.from_numpy(labels_N)
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


class TutorialLoop:
    """The plain loop: DataLoader, ToTensor, Adam."""

    def __init__(self, variant: str, images_NHW: Pixels, labels_N: Labels, *, seed: int = 0) -> None:
        self.network: nn.Module = build_network(spec_of(variant), seed=seed)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.images = TutorialImages(images_NHW, labels_N)

    def train(self, order: list[int] | None = None) -> None:
        """Make one pass over the images, shuffled or in this order."""
        loader = DataLoader(self.images, BATCH, shuffle=order is None, sampler=order)
        batches: Iterator[list[Tensor]] = iter(loader)
        for images_B1HW, labels_B in batches:
            logits_BK = self.network(images_B1HW.reshape(-1, SIDE, SIDE))
            loss = functional.cross_entropy(logits_BK, labels_B)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


class PipelineLoop:
    """rnnpipe's loop, with the tutorial's settings; without a run folder, validation and journal."""

    def __init__(
        self, network: nn.Module, variant: str, images: tuple[Pixels, Labels], precision: Precision = "fp32"
    ) -> None:
        config = TrainingConfig(
            epochs=1, batch_size=BATCH, learning_rate=LEARNING_RATE, optimizer="adam", gradient_clip_norm=None
        )
        self.setting = Setting(spec_of(variant), config, 0, CPU, precision)
        self.network, self.data = network, TrainingData(torch.from_numpy(images[0]), torch.from_numpy(images[1]))

    def train(self) -> None:
        """Make one pass over the images, with deterministic operations only, as in rnnpipe's trainings."""
        seed_everything(self.setting.seed)
        fit(self.network, self.data, self.setting)
        torch.set_deterministic_debug_mode("default")  # the other loops go without


def lightning_loop(variant: str, images: tuple[Pixels, Labels]) -> Callable[[], float] | None:
    """Return the tutorial's loop as a LightningModule in a bare Trainer; None where there is no Lightning.

    It makes one pass and returns the seconds of its updates: what a Trainer sets up before isn't counted.
    """
    if str(ASIDE) not in sys.path:
        sys.path.append(str(ASIDE))
    try:
        import lightning.pytorch as pl
    except ImportError:
        return None
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Tutorial(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = build_network(spec_of(variant), seed=0)
            self.started_s = self.wall_s = 0.0

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            images_B1HW, labels_B = batch
            return functional.cross_entropy(self.network(images_B1HW.reshape(-1, SIDE, SIDE)), labels_B)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

        def on_train_epoch_start(self) -> None:
            self.started_s = perf_counter()

        def on_train_epoch_end(self) -> None:
            self.wall_s = perf_counter() - self.started_s

    module, images_of = Tutorial(), TutorialImages(*images)

    def train() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would have more workers, and more logging
            trainer = pl.Trainer(
                max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False,
            )  # fmt: skip
            trainer.fit(module, DataLoader(images_of, BATCH, shuffle=True))
        return module.wall_s

    return train
