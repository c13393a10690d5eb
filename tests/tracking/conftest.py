"""One MLflow database for all tests here, and small models that cost a second to export."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.evaluation.deploy import ModelSpec, build_network, save_model
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking

MakeModel = Callable[[str, int], Path]


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    workspace = tmp_path_factory.mktemp("work space #")
    return open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits-rows", workspace)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    def make(variant: str, seed: int) -> Path:
        spec = ModelSpec(
            variant=VariantConfig.model_validate({"name": variant, "hidden_size": 8}),
            sequence=SequenceConfig(),
            image_size=(8, 6),
            classes=("zero", "one", "two"),
            steps=8,
            features=6,
            mean=0.3,
            deviation=0.4,
            dataset={"name": "digits", "digest": "0" * 64},
        )
        folder = tmp_path_factory.mktemp(f"{variant} {seed}")
        save_model(folder, spec, build_network(spec, seed))
        return folder

    return make
