"""Small models, sequences and reports for the tests of the evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnpipe.config import PipelineConfig, VariantConfig
from rnnpipe.evaluation.report import Conditions, EvaluationReport, Scores, Speed
from rnnpipe.evaluation.spec import ModelSpec

CLASSES = ("circle", "square", "cross")


@pytest.fixture
def make_spec() -> Callable[..., ModelSpec]:
    def make(
        variant: str = "gru", sequence: str = "rows", steps: int = 8, features: int = 8, **more: Any
    ) -> ModelSpec:  # fmt: skip
        sizes = {} if variant == "single-neuron" else {"hidden_size": 8}
        facts = {
            "dataset": {"name": "shapes", "digest": "d" * 64},
            "classes": list(CLASSES),
            "image_size": [8, 8],
            "sequence": {"name": sequence, "patch_size": 4, "scaling": "standard"},
            "steps": steps,
            "features": features,
            "train": 100,
            "mean": 0.25,
            "deviation": 0.5,
            **more,
        }
        return ModelSpec.of(facts, VariantConfig(name=variant, **sizes))

    return make


@pytest.fixture
def sequences_folder(tmp_path: Path) -> Path:
    """A sequences folder with 70 random test images of 8 x 8 pixels in three classes."""
    random = np.random.default_rng(0)
    folder = tmp_path / "sequences"
    folder.mkdir()
    np.save(folder / "test_x.npy", random.integers(0, 256, (70, 8, 8), dtype=np.uint8))
    np.save(folder / "test_y.npy", random.integers(0, len(CLASSES), 70))
    return folder


@pytest.fixture
def config() -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "variants": [{"name": "gru", "hidden_size": 8}],
            "execution": {"device": "cpu"},
            "evaluation": {"batch_size": 32, "latency_repeats": 10},
        }
    )


@pytest.fixture
def make_report() -> Callable[..., EvaluationReport]:
    def make(names: tuple[str, ...] = CLASSES, total: int = 120, skill: float = 3.0) -> EvaluationReport:
        random = np.random.default_rng(0)
        labels_N = random.integers(0, len(names), total)
        logits_NK = random.normal(size=(total, len(names)))
        logits_NK[np.arange(total), labels_N] += skill
        probabilities_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
        speed = Speed(
            latency_ms_p50=0.5, latency_ms_p95=0.75, latency_repeats=200, samples_per_s=9000.0,
            throughput_repeats=5, batch_size=100, halvings=1, peak_memory_mib=300.5,
        )  # fmt: skip
        conditions = Conditions(
            device="cpu", device_reason="asked for as cpu", threads=1, precision="fp32",
            precision_reason="fp32: asked for", torch_version="2",
        )  # fmt: skip
        scores = Scores.of("test", probabilities_NK, labels_N, names)
        return EvaluationReport(
            **dict(scores), **dict(speed), **dict(conditions), parameters=1234, weights_bytes=5678
        )

    return make
