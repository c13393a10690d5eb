"""What the tests run in processes of their own."""

import multiprocessing
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path

from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.runs import RunSpec, start_run


def worker_context() -> ForkServerContext:
    """Return how workers are started: forked from one process that has imported what takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rnnpipe.tracking.registry", "mlflow.artifacts", "sqlalchemy.orm"])
    return context


def start_in_workspace(workspace: Path, key: str, answer: Path) -> None:
    """Open the workspace, start a run, and write its id to a file."""
    tracking = open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits-rows", workspace)
    answer.write_text(start_run(tracking, RunSpec(key, f"run-{key}", {"seed": 0}, {}, 1_700_000_000_000)))


def start_and_hang(workspace: Path, key: str, answer: Path) -> None:
    """The same, and go on until killed."""
    start_in_workspace(workspace, key, answer)
    time.sleep(600)


def race_for_champion(workspace: Path, uri: str, answers: Path, *, rounds: int, start: Barrier) -> None:
    """Try in each round, at the same moment as the others, to replace the champion that all of them saw."""
    tracking = open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits-rows", workspace)
    version = registry.resolve_model_uri(tracking, uri)
    for number in range(rounds):
        seen = registry.champion(tracking, version.name)
        start.wait(60)
        number_seen = seen.number if seen else 0
        if registry.promote(tracking, version, number_seen or None) and number_seen != version.number:
            answers.joinpath(f"{number}-{number_seen}-{version.number}").touch()
        start.wait(60)
