"""Whole runs of `rnnpipe run`, each in a workspace of its own, and where their time went."""

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.suite import ROOT
from rnnpipe.files import read_json

PR_SET_CHILD_SUBREAPER = 36
LOOP, START, END = "training loop", "command to first task", "last task to exit"
EXPORT, READ_BACK = "export", "read back in a clean process"
NAMED_ELSEWHERE = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")


def adopt_orphans() -> None:
    """Become the parent of what a run leaves (Linux): its Prefect server counts as ours, not as foreign load."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def alone_in(home: Path) -> dict[str, str]:
    """Return the environment of runs with a workspace and locks of their own, and no server named elsewhere."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMED_ELSEWHERE}
    return kept | {"RNNPIPE_HOME": str(home), "RNNPIPE_LOCKS": str(home / "locks"), "PYTHONPATH": str(ROOT)}


class Workspace:
    """A folder with a fresh workspace in it, whose images are downloaded already: no network is measured."""

    def __init__(self, folder: Path, downloads: Path | None = None) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        if downloads is not None and downloads.exists():
            shutil.copytree(downloads, self.home / "downloads")

    def run(self, config: Path, overrides: dict[str, str]) -> tuple[float, dict[str, float]]:
        """Run the command once; return its wall seconds, and the seconds of its parts, which add up to that."""
        began_s = time.time()
        wall_s = self.call(config, overrides)
        return wall_s, self._parts(began_s, wall_s)

    def call(self, config: Path, overrides: dict[str, str]) -> float:
        """Run the command once; return its wall seconds."""
        options = [word for name, value in overrides.items() for word in ("--set", f"{name}={value}")]
        started_s = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "rnnpipe", "run", str(config), *options], check=False, cwd=ROOT,
            env=alone_in(self.home), capture_output=True, text=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - started_s
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return wall_s

    def entry(self, stage: str) -> Path:
        """Return the folder of the only entry of a stage."""
        (manifest,) = self.home.glob(f"store/{stage}/*/manifest.json")
        return manifest.parent

    def _parts(self, began_s: float, wall_s: float) -> dict[str, float]:
        """Return the seconds of each part of the newest run: those of its tasks are from Prefect's records."""
        tasks = list(self._tasks(began_s))
        parts = {START: tasks[0][1] - began_s}
        for name, first_s, last_s in tasks:
            parts[name] = last_s - first_s
        if parts["train"] > (loop_s := self._loop_s()):  # else it was there already
            parts |= {"train": parts["train"] - loop_s, LOOP: loop_s}
        if (export := self._export_s(began_s)) is not None:
            parts |= {**export, "register": parts["register"] - sum(export.values())}
        parts[END] = began_s + wall_s - tasks[-1][2]
        return {**parts, "between tasks": wall_s - sum(parts.values())}

    def _loop_s(self) -> float:
        """Return the seconds of the training's epochs; validation and checkpoints are no part of them."""
        facts: dict[str, Any] = read_json(self.entry("trainings") / "manifest.json")["facts"]
        return float(facts["wall_s"])

    def _export_s(self, after_s: float) -> dict[str, float] | None:
        """Return the seconds of the export and of reading it back, from MLflow's records; None without an export.

        It notes when a stored model begins, when it is whole, and when its version comes into being.
        """
        stored = "SELECT creation_timestamp_ms, last_updated_timestamp_ms FROM logged_models ORDER BY 1"
        with closing(sqlite3.connect(f"file:{self.home / 'mlflow.db'}?mode=ro", uri=True)) as connection:
            models = connection.execute(stored).fetchall()
            versions = connection.execute("SELECT creation_time FROM model_versions ORDER BY 1").fetchall()
        if not versions or versions[-1][0] < 1000 * after_s:
            return None
        (began_ms, whole_ms), (version_ms,) = models[-1], versions[-1]
        return {EXPORT: (whole_ms - began_ms) / 1000, READ_BACK: (version_ms - whole_ms) / 1000}

    def _tasks(self, after_s: float) -> Iterator[tuple[str, float, float]]:
        """Yield kind, start and end (seconds since 1970) of each task since a time, in order."""
        address = f"file:{self.home / 'prefect' / 'prefect.db'}?mode=ro"
        query = "SELECT name, start_time, end_time FROM task_run ORDER BY start_time"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            for name, first, last in connection.execute(query):
                if (first_s := _seconds(first)) > after_s:
                    yield name.partition(" ")[0], first_s, _seconds(last)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
