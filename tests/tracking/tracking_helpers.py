"""What the tests of tracking share: small models, a finished training, MLflow's own server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from rnnpipe.config import RegistryConfig, SequenceConfig, VariantConfig
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.evaluation.report import PREDICTIONS_FILE, REPORT_FILE, Conditions, EvaluationReport, Scores, Speed
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import write_json
from rnnpipe.references import StageRef
from rnnpipe.store import MANIFEST, Entry
from rnnpipe.tracking.recording import run_spec
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.runs import RunSpec
from rnnpipe.training.journal import Event, Journal, event_line, read_journal

MakeModel = Callable[[str, int], Path]

START_MS = 1_700_000_000_000
CLASSES = ("zero", "one", "two")
DATASET = StageRef(stage="dataset", key="d" * 64, digest="0" * 64, facts={"name": "digits"})


def write_model(folder: Path, variant: str, seed: int) -> None:
    """Write a model that takes a second to export."""
    spec = ModelSpec(
        variant=VariantConfig.model_validate({"name": variant, "hidden_size": 8}),
        sequence=SequenceConfig(),
        image_size=(8, 6),
        classes=CLASSES,
        steps=8,
        features=6,
        mean=0.3,
        deviation=0.4,
        dataset={"name": "digits", "digest": "0" * 64},
    )
    save_model(folder, spec, build_network(spec, seed))


def journal_lines(epochs: int = 2, updates: int = 3) -> list[str]:
    """Return a journal's lines: each epoch has a checkpoint after its first update."""
    lines = [event_line("start")]
    for epoch in range(1, epochs + 1):
        first = (epoch - 1) * updates
        lines.append(event_line("steps", epoch=epoch, first_step=first, losses=[(1 / (first + 1)).hex()]))
        lines.append(event_line("checkpoint", epoch=epoch, step=first + 1))
        losses = [(1 / (step + 1)).hex() for step in range(first + 1, first + updates)]
        lines.append(event_line("steps", epoch=epoch, first_step=first + 1, losses=losses))
        figures = {"train_loss": 0.5, "learning_rate": 0.01, "validation_loss": 0.4, "validation_accuracy": 0.75}
        lines.append(
            event_line("epoch", epoch=epoch, step=first + updates, wall_s=1.0, samples_per_s=10.0, **figures)
        )
    return [*lines, event_line("end", wall_s=2.0)]


def events_of(folder: Path, lines: list[str]) -> list[Event]:
    """Write lines as the journal of a folder and return its events."""
    folder.joinpath("log").mkdir(parents=True, exist_ok=True)
    with Journal(folder) as journal:
        for line in lines:
            journal.append(line)
    return read_journal(folder)


class Finished:
    """A training and its evaluation as the store holds them, without having been trained."""

    def __init__(self, folder: Path, key: str, seed: int = 1) -> None:
        training, evaluation = folder / "training", folder / "evaluation"
        write_model(training, "basic", seed)
        self.events = events_of(training, journal_lines())
        facts = {
            "wall_s": 2.0, "best_epoch": 2, "device": "cpu", "threads": 1, "precision": "fp32", "torch": "2",
            "threads_reason": "1 thread: there is one core",
        }  # fmt: skip
        reference = StageRef(stage="trainings", key=key, digest=f"weights of {key}", facts=facts)
        self.training = Entry(reference, training, "run")
        self.evaluation = self.evaluated(evaluation, latency_ms=0.5)

    def evaluated(self, folder: Path, *, latency_ms: float) -> Entry:
        """Return an evaluation on the test images."""
        folder.mkdir()
        write_json(folder / REPORT_FILE, report(latency_ms).model_dump(mode="json"))
        write_json(folder / MANIFEST, {"made_at_ns": time.time_ns()})
        save_file({"probabilities": np.zeros((1, 3), np.float32)}, folder / PREDICTIONS_FILE)
        key = f"{self.training.ref.key}-{latency_ms}"
        return Entry(StageRef(stage="evaluations", key=key, digest=key, facts={}), folder, "run")

    @property
    def spec(self) -> RunSpec:
        """The training's run in MLflow."""
        key = self.training.ref.key
        return run_spec(key, self.training.path, name=f"run {key}", params={"seed": 1}, tags={"p": "1"})


def report(latency_ms: float) -> EvaluationReport:
    """Return the report of an evaluation."""
    labels_N = np.arange(12) % 3
    probabilities_NK = np.full((12, 3), 0.2)
    probabilities_NK[np.arange(12), labels_N] = 0.6
    speed = Speed(
        latency_ms_p50=latency_ms, latency_ms_p95=0.75, latency_repeats=200, samples_per_s=9000.0,
        throughput_repeats=5, batch_size=100, halvings=0, peak_memory_mib=300.5,
    )  # fmt: skip
    conditions = Conditions(
        device="cpu", device_reason="asked for", threads=1, precision="fp32", precision_reason="asked for",
        torch_version="2",
    )  # fmt: skip
    scores = Scores.of("test", probabilities_NK, labels_N, CLASSES)
    return EvaluationReport(**dict(scores), **dict(speed), **dict(conditions), parameters=12, weights_bytes=56)


def verdict_on(version: Version, decision: Decision, champion: Version | None = None) -> Verdict:
    """Return a verdict that is what a test says, whatever the figures."""
    compared = {"fixed": 3, "broken": 1, "p_value": 0.625, "difference": 0.2, "interval": (-0.15, 0.49)}
    return Verdict(
        decision=decision, reason=f"so it is {decision.lower()}", rule=RegistryConfig(), total=10,
        candidate_version=version.uri, candidate_correct=9, candidate_accuracy=0.9,
        **(compared if champion else {}), champion_version=champion.uri if champion else None, test_looks=7,
    )  # fmt: skip


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's own server on a database in a folder; give its address and its process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port),
        "--backend-store-uri", "sqlite:///server.db",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = (folder / "server.log").open("wb")
    with log, subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log) as process:
        uri, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{uri}/health").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield uri, process
        process.terminate()
