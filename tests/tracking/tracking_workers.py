"""What the tests run in processes of their own."""

import time
from pathlib import Path

from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.runs import RunSpec, start_run


def start_in_workspace(workspace: Path, key: str, answer: Path) -> None:
    """Open the workspace, start a run, and write its id to a file."""
    tracking = open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits-rows", workspace)
    answer.write_text(start_run(tracking, RunSpec(key, f"run-{key}", {"seed": 0}, {}, 1_700_000_000_000)))


def start_and_hang(workspace: Path, key: str, answer: Path) -> None:
    """The same, and go on until killed."""
    start_in_workspace(workspace, key, answer)
    time.sleep(600)
