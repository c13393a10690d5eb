"""One MLflow database for all tests here, one server of MLflow, and small models."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from registry_helpers import Registry
from tracking_helpers import MakeModel, mlflow_server, write_model

from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    workspace = tmp_path_factory.mktemp("work space #")
    return open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits-rows", workspace)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without anything in them."""
    workspace = tmp_path_factory.mktemp("empty")
    open_tracking(sqlite_uri(workspace / "mlflow.db"), None, workspace)
    with sqlite3.connect(workspace / "mlflow.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return workspace / "mlflow.db"


@pytest.fixture
def place(empty_database: Path, tmp_path: Path) -> Registry:
    """A registry that no other test sees."""
    return Registry.copy_of(empty_database, tmp_path / "work space")


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    def make(variant: str, seed: int) -> Path:
        folder = tmp_path_factory.mktemp(f"{variant} {seed}")
        write_model(folder, variant, seed)
        return folder

    return make


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as (uri, _):
        yield uri


@pytest.fixture
def proxy(server: str) -> Iterator[FaultProxy]:
    with FaultProxy(server) as proxy:
        yield proxy
