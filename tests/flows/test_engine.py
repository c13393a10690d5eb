"""The choice of an engine: it changes where trainings run, and nothing of what comes out."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from workspaces import TINY

from flows.changes import basis_of
from flows.cluster import needs_of
from flows.engine import LocalEngine, check_engine, exchange_url, open_engine
from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import dataset_recipe
from rnnpipe.errors import ConfigError
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.nodes import EXCHANGE_VARIABLE
from rnnpipe.processes.launcher import Launcher
from rnnpipe.references import StageRef
from rnnpipe.training.job import training_recipe

SEQUENCES = StageRef(stage="sequences", key="k" * 64, digest="d" * 64, facts={})
RAY = {"engine": "ray", "ray": {"address": "ray://head:10001", "cpus": 4, "gpus": 0.5, "memory_gib": 2}}


def config_with(**execution: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({**TINY, "execution": execution})


def test_the_engine_is_no_part_of_what_comes_out() -> None:
    local, ray = config_with(), config_with(**RAY)
    for config in (local, ray):
        config.as_json()
    found = [
        (
            training_recipe(SEQUENCES, config, config.variants[0], 0).key,
            evaluation_recipe("m", SEQUENCES, config.evaluation, config.execution).key,
            basis_of(config, dataset_recipe(config.data)),
            config.params_of(0, 0),
        )
        for config in (local, ray)
    ]
    assert found[0] == found[1]


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.engine.find_spec", lambda name: None)
    check_engine(config_with())
    with pytest.raises(ConfigError, match="Ray isn't installed") as found:
        check_engine(config_with(**RAY))
    assert "rnnpipe[ray]" in found.value.fix


def test_a_cluster_elsewhere_needs_a_place_that_all_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("flows.engine.find_spec", lambda name: importlib.util.find_spec("json"))
    monkeypatch.delenv(EXCHANGE_VARIABLE, raising=False)
    elsewhere, here = config_with(**RAY), config_with(engine="ray")
    with pytest.raises(ConfigError, match=r"execution\.ray\.exchange = null"):
        check_engine(elsewhere)
    check_engine(here)
    assert exchange_url(here, tmp_path) == str(tmp_path / "exchange")
    check_engine(config_with(engine="ray", ray={"address": "auto", "exchange": "/mnt/shared"}))
    monkeypatch.setenv(EXCHANGE_VARIABLE, str(tmp_path))
    check_engine(elsewhere)
    assert exchange_url(elsewhere, tmp_path) == "" == exchange_url(here, tmp_path)


@pytest.mark.parametrize(
    ("execution", "needs"),
    [
        ({}, {"CPU": 1, "GPU": 0}),
        ({"threads": 3, "processes": 2}, {"CPU": 6, "GPU": 0}),
        ({"ray": {"cpus": 4, "gpus": 0.5, "memory_gib": 1.5}}, {"CPU": 4, "GPU": 0.5, "memory": 3 << 29}),
    ],
)
def test_a_training_gets_what_its_config_names(execution: dict[str, Any], needs: dict[str, float]) -> None:
    assert needs_of(config_with(engine="ray", **execution)) == needs


def test_the_local_engine_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RNNPIPE_HOME", str(tmp_path))
    assert isinstance(open_engine(config_with(), Launcher(), tmp_path), LocalEngine)
