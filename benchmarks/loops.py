"""The two training loops that are compared: the one tutorials teach, and rnnpipe's; the same work in each."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.config.sections import TrainingConfig
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.runtime import seed_everything
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting, TrainingData

BATCH = 100
LEARNING_RATE = 1e-3
SIDE = 28
Pixels = NDArray[np.uint8]


def synthetic_images(total: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Return random images of MNIST's shape, and labels: the speed doesn't depend on what they show."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (total, SIDE, SIDE), dtype=np.uint8), random.integers(0, 10, total)


def spec_of(variant: str) -> ModelSpec:
    """Return the spec of a variant in its tutorial's size, on rows of MNIST's shape."""
    facts = {
        "dataset": {"name": "synthetic", "digest": ""},
        "classes": [str(digit) for digit in range(10)],
        "image_size": [SIDE, SIDE],
        "sequence": SequenceConfig().model_dump(),
        "steps": SIDE,
        "features": SIDE,
        "mean": 0.0,
        "deviation": 1.0,
    }
    return ModelSpec.of(facts, VariantConfig(name=variant))


class TutorialImages(Dataset[tuple[torch.Tensor, int]]):
    """Images as torchvision's MNIST gives them: a PIL image an item, made a float tensor by ToTensor."""

    def __init__(self, images_NHW: Pixels, labels_N: NDArray[np.int64]) -> None:
        self.data, self.targets = torch.from_numpy(images_NHW), torch.from_numpy(labels_N)
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


class TutorialLoop:
    """The plain loop: DataLoader, ToTensor, Adam."""

    def __init__(self, variant: str, images_NHW: Pixels, labels_N: NDArray[np.int64]) -> None:
        self.network: nn.Module = build_network(spec_of(variant), seed=0)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        self.images = TutorialImages(images_NHW, labels_N)

    def train(self) -> None:
        """Make one pass over the images."""
        batches: Iterator[list[torch.Tensor]] = iter(DataLoader(self.images, BATCH, shuffle=True))
        for images_B1HW, labels_B in batches:
            logits_BK = self.network(images_B1HW.reshape(-1, SIDE, SIDE))
            loss = functional.cross_entropy(logits_BK, labels_B)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


class PipelineLoop:
    """rnnpipe's loop, with the tutorial's settings; without a run folder, validation and journal."""

    def __init__(self, variant: str, images_NHW: Pixels, labels_N: NDArray[np.int64]) -> None:
        config = TrainingConfig(
            epochs=1, batch_size=BATCH, learning_rate=LEARNING_RATE, optimizer="adam", gradient_clip_norm=None
        )
        self.setting = Setting(spec_of(variant), config, 0, torch.device("cpu"), "fp32")
        self.network = build_network(self.setting.spec, seed=0)
        self.data = TrainingData(torch.from_numpy(images_NHW), torch.from_numpy(labels_N))

    def train(self) -> None:
        """Make one pass over the images, with deterministic operations only, as in rnnpipe's trainings."""
        seed_everything(self.setting.seed)
        fit(self.network, self.data, self.setting)
        torch.set_deterministic_debug_mode("default")  # the tutorial's loop goes without


LOOPS: dict[str, type[TutorialLoop] | type[PipelineLoop]] = {"tutorial": TutorialLoop, "rnnpipe": PipelineLoop}
