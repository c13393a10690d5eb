"""A registry of its own for a test: versions whose stored models are a file or two, and a store beside it."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rnnpipe.config import RegistryConfig
from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.files import digest_of
from rnnpipe.references import Recipe
from rnnpipe.store import Entry, Store
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.history import DATASET_TAG
from rnnpipe.tracking.promotion import record_verdict
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run

START_MS = 1_700_000_000_000
DAY_S = 86_400
NAME = "digits-rows"


@dataclass
class Registry:
    """An MLflow in a workspace."""

    tracking: Tracking
    workspace: Path

    @classmethod
    def copy_of(cls, empty: Path, workspace: Path) -> "Registry":
        """Return one that begins as a copy of an empty database: to make one takes seconds."""
        workspace.mkdir(exist_ok=True)
        shutil.copy(empty, workspace / "mlflow.db")
        return cls(open_tracking(sqlite_uri(workspace / "mlflow.db"), NAME, workspace), workspace)

    @property
    def store(self) -> Store:
        return Store(self.workspace / "store")

    def run(self, key: str) -> str:
        return start_run(self.tracking, RunSpec(key, key, {}, {}, START_MS))

    def store_model(self, run_id: str, content: str) -> str:
        """Store files as a run's model and return its URI."""
        client, files = self.tracking.client, self.workspace / "files"
        files.mkdir(exist_ok=True)
        (files / "MLmodel").write_text(content)
        tags = {MODEL_DIGEST_TAG: digest_of(content)}
        model = client.create_logged_model(
            self.tracking.experiment_id, name="net", source_run_id=run_id, tags=tags
        )
        client.log_model_artifacts(model.model_id, str(files))
        client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_uri)

    def version(self, key: str, *, name: str = NAME, images: str = "", fingerprint: str = "") -> Version:
        """Register a version with a run and a stored model of its own."""
        run_id = self.run(key)
        tags = {DATASET_TAG: images} if images else {}
        candidate = Candidate(self.store_model(run_id, key), run_id, fingerprint or key, tags, "A net.")
        return registry.register(self.tracking, name, candidate)

    def judge(self, version: Version, decision: Decision, correct: int, total: int = 1000) -> None:
        """Write a verdict on a version."""
        verdict = Verdict(
            decision=decision, reason=f"so it is {decision.lower()}", total=total, candidate_version=version.uri,
            candidate_correct=correct, candidate_accuracy=correct / total, rule=RegistryConfig(),
        )  # fmt: skip
        record_verdict(self.tracking, version, verdict, run_id=version.run_id)

    def output(self, stage: str, content: str, **inputs: str) -> Entry:
        """Return an output in the store."""

        def build(folder: Path) -> dict[str, str]:
            (folder / "content").write_text(content)
            return {}

        return self.store.ensure(Recipe(stage=stage, inputs={"content": content, **inputs}), build, "run")

    def training(self, content: str) -> dict[str, Entry]:
        """Return the outputs of a run, each stage from the one before."""
        dataset = self.output("dataset", f"images of {content}")
        sequences = self.output("sequences", f"sequences of {content}", dataset=dataset.ref.digest)
        training = self.output("trainings", content, sequences=sequences.ref.digest)
        evaluation = self.output(
            "evaluations", f"test of {content}", model=training.ref.digest, sequences=sequences.ref.digest
        )
        return {"dataset": dataset, "sequences": sequences, "training": training, "evaluation": evaluation}

    def aliases(self, name: str = NAME) -> dict[str, int]:
        found = self.tracking.client.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in found.items()}


def make_old(folder: Path, days: int = 30) -> None:
    """Let a folder and all in it be written days ago."""
    then_s = time.time() - days * DAY_S
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then_s, then_s))
