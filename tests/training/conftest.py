"""Small images of three classes, as tensors and as a sequences folder, and one fork server for all tests here."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_helpers import Trainings

from rnnpipe.config import PipelineConfig, VariantConfig
from rnnpipe.config.training import TrainingConfig
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import write_json
from rnnpipe.processes.launcher import Launcher
from rnnpipe.training.journal import Event, Journal, read_journal
from rnnpipe.training.loop import Outcome, fit
from rnnpipe.training.setting import Setting, TrainingData

Train = Callable[..., tuple[Outcome, list[Event]]]

CPU = torch.device("cpu")
CLASSES = ("top", "middle", "bottom")
FACTS = {
    "dataset": {"name": "bands", "digest": "d" * 64},
    "classes": list(CLASSES),
    "image_size": [6, 6],
    "sequence": {"name": "rows"},
    "steps": 6,
    "features": 6,
    "mean": 0.0,
    "deviation": 1.0,
}
TRAIN, VALIDATION = 90, 30


def make_images(total: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of 6 x 6 pixels with a bright band; its height is the class."""
    random = np.random.default_rng(seed)
    y_N = np.arange(total) % len(CLASSES)
    x_NTI = random.integers(0, 120, (total, 6, 6), dtype=np.uint8)
    for number, label in enumerate(y_N):
        x_NTI[number, 2 * label : 2 * label + 2] += 100
    return x_NTI, y_N.astype(np.int64)


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(name="open_journal")
def make_opener() -> Iterator[Callable[..., Journal]]:
    """Open journals as Journal does, and close them after the test."""
    with contextlib.ExitStack() as stack:

        def open_journal(*arguments: object) -> Journal:
            journal = Journal(*arguments)
            stack.callback(journal.close)
            return journal

        yield open_journal


@pytest.fixture(name="data")
def make_data() -> TrainingData:
    return TrainingData(*map(torch.from_numpy, [*make_images(TRAIN, 0), *make_images(VALIDATION, 1)]))


@pytest.fixture(name="make_setting")
def make_setting_() -> Callable[..., Setting]:
    """Return a maker of settings: make_setting("gru", dropout=0.5, training={"epochs": 2}, folder=path)."""

    def make(
        name: str = "gru", *, training: dict[str, Any] | None = None, seed: int = 0, folder: Path | None = None,
        precision: Any = "fp32", **options: Any,
    ) -> Setting:  # fmt: skip
        sizes = {} if name == "single-neuron" else {"hidden_size": 8}
        spec = ModelSpec.of(FACTS, VariantConfig.model_validate({"name": name, **sizes, **options}))
        config = TrainingConfig.model_validate(
            {"epochs": 3, "batch_size": 16, "learning_rate": 0.02, **(training or {})}
        )
        return Setting(spec, config, seed, CPU, precision, folder)

    return make


@pytest.fixture(scope="session")
def sequences_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequences folder as the store keeps it."""
    folder = tmp_path_factory.mktemp("séquences") / "key"
    folder.mkdir()
    for split, total, seed in (("train", TRAIN, 0), ("validation", VALIDATION, 1), ("test", 30, 2)):
        x_NTI, y_N = make_images(total, seed)
        np.save(folder / f"{split}_x.npy", x_NTI)
        np.save(folder / f"{split}_y.npy", y_N)
    write_json(folder / "manifest.json", {"facts": FACTS})
    return folder


@pytest.fixture(name="make_config")
def make_config_() -> Callable[..., PipelineConfig]:
    """Return a maker of configs of one variant: make_config(training={"epochs": 2}, device="cpu")."""

    def make(
        training: dict[str, Any] | None = None, variants: list[dict[str, Any]] | None = None, **execution: Any
    ) -> PipelineConfig:
        values = {
            "variants": variants or [{"name": "rnn", "hidden_size": 8, "dropout": 0.25}],
            "training": {
                "epochs": 3,
                "batch_size": 16,
                "learning_rate": 0.02,
                "preflight": False,
                **(training or {}),
            },
            "execution": {"device": "cpu", **execution},
        }
        return PipelineConfig.model_validate(values)

    return make


@pytest.fixture(scope="session")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the device locks that the launcher's jobs use."""
    return tmp_path_factory.mktemp("locks")


@pytest.fixture(scope="session")
def launcher(locks: Path) -> Iterator[Launcher]:
    """A real launcher whose jobs find training_workers and lock devices in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNPIPE_LOCKS", str(locks))
        patch.setenv("PYTHONPATH", f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        with Launcher(["rnnpipe.training.work"]) as launcher:
            launcher.warm_up()
            yield launcher


@pytest.fixture(name="trainings")
def make_trainings(launcher: Launcher, tmp_path: Path, sequences_folder: Path) -> Trainings:
    """Trainings in a store of the test."""
    return Trainings(launcher, tmp_path / "störe", sequences_folder)


@pytest.fixture(name="train")
def make_train(open_journal, tmp_path) -> Train:
    """Train the net of a setting and return the outcome and the journal's events."""

    def train(
        setting: Setting, data: TrainingData, network: nn.Module | None = None
    ) -> tuple[Outcome, list[Event]]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        try:
            outcome = fit(
                network or build_network(setting.spec, setting.seed), data, setting, open_journal(folder)
            )
        finally:
            train.events = read_journal(folder)
        return outcome, train.events

    return train
