"""A run as the workspace keeps it, without a training: small files in a store, and what would be said of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnpipe.config import PipelineConfig
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.promotion import decide
from rnnpipe.evaluation.report import (
    PREDICTIONS_FILE,
    REPORT_FILE,
    Conditions,
    EvaluationReport,
    Reading,
    Scores,
    Speed,
)
from rnnpipe.evaluation.standing import Standing
from rnnpipe.files import write_json
from rnnpipe.references import Recipe
from rnnpipe.reporting.facts import RunFacts, Stage, Trained, keep_facts
from rnnpipe.store import Entry, Store
from rnnpipe.training.journal import JOURNAL_FILE, event_line

CLASSES = ("circle", "<b>square</b>", "cross | star`")
TOTAL = 300
# the smallest PNG: one pixel
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


@dataclass
class Kept:
    """A workspace with a store; `run` keeps runs in it."""

    workspace: Path

    @property
    def store(self) -> Store:
        return Store(self.workspace / "store")

    def output(self, stage: str, files: dict[str, bytes], facts: dict[str, Any], **inputs: Any) -> Entry:
        def build(folder: Path) -> dict[str, Any]:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            return facts

        return self.store.ensure(Recipe(stage=stage, inputs=inputs), build, "run")

    def training(self, label: str) -> Entry:
        facts = {"seed": 0, "best_epoch": 2, "epochs": 2, "torch": "2", "device": "cpu", "threads": 1}
        lines = [
            event_line("epoch", epoch=epoch, train_loss=1 / epoch, validation_accuracy=0.5 + epoch / 10)
            for epoch in (1, 2)
        ]
        return self.output("trainings", {JOURNAL_FILE: "".join(lines).encode()}, facts, label=label)

    def evaluation(self, label: str, wrong: int, figure_bytes: int = 0) -> tuple[Entry, EvaluationReport]:
        """Store the evaluation of a model that mistakes the first `wrong` images."""
        report, probabilities_NK, labels_N = report_with(wrong)

        def build(folder: Path) -> dict[str, Any]:
            write_json(folder / REPORT_FILE, report.model_dump(mode="json"))
            save_file({"probabilities": probabilities_NK, "labels": labels_N}, folder / PREDICTIONS_FILE)
            (folder / "figures").mkdir()
            for name in ("unknown_kind", "per_class", "confusion_matrix"):
                (folder / f"figures/{name}.png").write_bytes(PIXEL + b"\0" * figure_bytes)
            (folder / "figures/no_picture.png").write_bytes(b"<script>")
            return {}

        return self.store.ensure(Recipe(stage="evaluations", inputs={"label": label}), build, "run"), report

    def run(
        self, run: str = "0123abcd", *, wrong: tuple[int, ...] = (30, 60), figure_bytes: int = 0, **fields: Any
    ) -> RunFacts:
        """Keep a run of one net a number in `wrong`, which says how many images it mistakes."""
        variants = [{"name": "gru", "hidden_size": 8 + place, "num_layers": 1} for place in range(len(wrong))]
        config = PipelineConfig.model_validate({"name": "shapes", "variants": variants, **fields})
        dataset = self.output("datasets", {"test_images.npy": b""}, DATASET, images="shapes")
        rows, trained = [], []
        for place, (variant, count) in enumerate(zip(config.variants, wrong, strict=True)):
            label = variant.label
            training = self.training(label)
            evaluation, report = self.evaluation(label, count, figure_bytes)
            trained.append(
                Trained(
                    label=f"{label} s0", variant=place, seed=0, training=training.ref, evaluation=evaluation.ref
                )
            )
            summary = TrainingSummary(
                label=label, variant="gru", seed=0, validation_accuracy=1 - count / TOTAL, validation_loss=0.1,
                train_wall_s=2.0, train_samples_per_s=1000.0,
            )  # fmt: skip
            rows.append(LeaderboardRow.of(summary, report))
        leaderboard = Leaderboard.of(rows)
        standing = Standing.read("models:/shapes/1", self.store.resolve(trained[0].evaluation).path)
        facts = RunFacts(
            run=run, at="2026-01-02 03:04:05 UTC", config=config, dataset=dataset.ref, trained=tuple(trained),
            leaderboard=leaderboard, chosen=leaderboard.candidate(), conditions="cpu", tracked=True,
            stages=(Stage(name="dataset shapes", sentence="runs: <i>nothing</i> like it is stored yet"),),
            verdict=decide(standing, None, config.registry), model_uri="models:/shapes/1",
            champion="models:/shapes/1",
        )  # fmt: skip
        keep_facts(self.workspace, facts)
        return facts


DATASET = {"name": "digits", "classes": list(CLASSES), "image_size": [8, 8], "train": 1000, "test": TOTAL}


def report_with(wrong: int) -> tuple[EvaluationReport, Any, Any]:
    """Return the report on a model that mistakes the first images, its probabilities, and the labels."""
    labels_N = np.arange(TOTAL) % len(CLASSES)
    answers_N = np.where(np.arange(TOTAL) < wrong, (labels_N + 1) % len(CLASSES), labels_N)
    probabilities_NK = np.full((TOTAL, len(CLASSES)), 0.1, np.float32)
    probabilities_NK[np.arange(TOTAL), answers_N] = 0.8
    speed = Speed(
        latency_ms_p50=0.5, latency_ms_p95=0.75, latency_repeats=200, samples_per_s=9000.0, throughput_repeats=5,
        batch_size=100, halvings=0, peak_memory_mib=300.5,
    )  # fmt: skip
    conditions = Conditions(
        device="cpu", device_reason="asked for", threads=1, precision="fp32", precision_reason="asked for",
        torch_version="2",
    )  # fmt: skip
    reading = Reading(images=TOTAL, steps=(1, 2), correct=(100, 200), median_decision_step=2)
    scores = Scores.of("test", probabilities_NK, labels_N, CLASSES)
    report = EvaluationReport(
        **dict(scores), **dict(speed), **dict(conditions), parameters=12, weights_bytes=56, reading=reading
    )
    return report, probabilities_NK, labels_N


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "work space")
