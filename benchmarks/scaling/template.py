"""A real pipeline run, and its rows in MLflow's and Prefect's tables: what all synthetic runs are copies of."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.runs import Workspace
from benchmarks.suite import ROOT
from rnnpipe.reporting.facts import RunFacts, kept_facts

CONFIG = ROOT / "configs/quickstart.yaml"
QUICK = {
    "variants": "[{name: single-neuron}, {name: basic}]",
    "training.epochs": "1",
    "registry.minimum_accuracy": "0",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """The workspace of a run, with its rows by table of MLflow and of Prefect."""

    home: Path
    facts: RunFacts
    mlflow: dict[str, list[Row]]
    prefect: dict[str, list[Row]]

    @property
    def trainings(self) -> list[Row]:
        """The runs in MLflow that are trainings; the experiment `champions` has one that isn't."""
        variants = {row["run_uuid"] for row in self.mlflow["params"] if row["key"] == "variant"}
        return [row for row in self.mlflow["runs"] if row["run_uuid"] in variants]

    def of_run(self, table: str, run_uuid: str) -> list[Row]:
        """Return the rows that one of MLflow's runs has in a table."""
        return [row for row in self.mlflow[table] if row["run_uuid"] == run_uuid]


def make_template(folder: Path, quick: bool) -> Template:
    """Run the shipped quickstart once in a workspace of its own and read what it left."""
    workspace = Workspace(folder)
    workspace.call(CONFIG, QUICK if quick else {})
    return read_template(workspace)


def read_template(workspace: Workspace) -> Template:
    """Return what a workspace's only run left."""
    (facts,) = kept_facts(workspace.home)
    return Template(
        workspace.home,
        facts,
        _rows(workspace.home / "mlflow.db"),
        _rows(workspace.home / "prefect" / "prefect.db"),
    )


def _rows(path: Path) -> dict[str, list[Row]]:
    """Return all rows of an SQLite file by table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in names}  # noqa: S608
