"""A sweep whose trials are kept in Postgres, with a password that nobody is shown."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from stack_helpers import ROOT, needs_postgres, new_stack

from rnnpipe.sweeping.storage import STORAGE_VARIABLE

pytestmark = [needs_postgres, pytest.mark.slow]

pytest.importorskip("optuna")

FAKE = ROOT / "tests" / "sweeping" / "fake_sweep.py"


def test_trials_are_kept_in_postgres_and_one_process_works_on_them(tmp_path: Path) -> None:
    with new_stack() as stack, stack.running(("postgres", "databases")):
        password, port = stack.secret("mlflow_database_password"), stack.ports["postgres"]
        address = f"postgresql://mlflow:{password}@127.0.0.1:{port}/mlflow"
        paths = os.pathsep.join([str(ROOT), str(FAKE.parent), *filter(None, sys.path)])
        environment = {**os.environ, STORAGE_VARIABLE: address, "PYTHONPATH": paths}

        def fake(*point: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, str(FAKE), str(tmp_path), "6", *point]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        assert fake("report", "3", "2").returncode < 0
        both = [
            subprocess.Popen(
                [sys.executable, str(FAKE), str(tmp_path), "6"], env=environment, stderr=subprocess.PIPE
            )
            for _ in range(2)
        ]
        said = [process.communicate()[1].decode() for process in both]
        assert [process.returncode for process in both] == [0, 0], said
        assert password not in "".join(said)
        with psycopg.connect(address) as connection:
            (count,) = connection.execute("SELECT count(*) FROM trials").fetchone() or (0,)
            states = connection.execute("SELECT DISTINCT state FROM trials").fetchall()
        assert count == 6 and ("RUNNING",) not in states
        assert not (tmp_path / "sweeps.db").exists()
