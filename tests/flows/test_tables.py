"""Prefect's empty tables, kept for a machine: those that its migrations make, and nothing of a workspace."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.tables import DATABASE, bring_tables, keep_tables


def read(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as connection:
        return sorted(connection.execute(query).fetchall())


def tables_of(database: Path) -> list[Any]:
    return read(database, "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a Prefect whose own migrations have made the tables, and something in one of them."""
    home = tmp_path_factory.mktemp("migrated")
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(command, env={**os.environ, "PREFECT_HOME": str(home)}, check=True, capture_output=True)
    with closing(sqlite3.connect(home / DATABASE)) as connection:
        connection.execute("INSERT INTO configuration (key, value) VALUES ('SECRET', '\"s3cret\"')")
        connection.commit()
    assert b"s3cret" in (home / DATABASE).read_bytes()
    return home


@pytest.fixture
def kept(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tables as they are kept after the first start of a server."""
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "cache"))
    bring_tables(tmp_path / "first")
    assert not (tmp_path / "first").exists(), "a machine's first server makes its tables itself"
    keep_tables(migrated)
    (found,) = (tmp_path / "cache").rglob("*.db")
    return found


def test_a_new_workspace_gets_the_tables_that_the_migrations_make_and_nothing_else(
    migrated: Path, kept: Path, tmp_path: Path
) -> None:
    bring_tables(tmp_path / "new")
    database = tmp_path / "new" / DATABASE
    assert tables_of(database) == tables_of(migrated / DATABASE)
    versions = "SELECT version_num FROM alembic_version"
    assert read(database, versions) == read(migrated / DATABASE, versions) != []
    assert read(database, "SELECT * FROM configuration") == []
    assert b"s3cret" not in database.read_bytes()


def test_a_database_that_is_there_or_elsewhere_is_left_alone(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DATABASE).write_bytes(b"precious")
    bring_tables(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == b"precious"
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://somewhere/prefect")
    bring_tables(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["no database", "half", "no version", "writable"])
def test_damaged_tables_are_not_used_and_made_again(
    migrated: Path, kept: Path, tmp_path: Path, damage: str
) -> None:
    good = kept.read_bytes()
    if damage == "no database":
        kept.write_bytes(b"x" * 8192)
    elif damage == "half":
        kept.write_bytes(good[: len(good) // 2])
    elif damage == "no version":
        with closing(sqlite3.connect(kept)) as connection:
            connection.execute("DELETE FROM alembic_version")
            connection.commit()
    else:
        kept.chmod(0o666)
    bring_tables(tmp_path / "new")
    assert not (tmp_path / "new" / DATABASE).exists()
    keep_tables(migrated)
    bring_tables(tmp_path / "new")
    assert tables_of(tmp_path / "new" / DATABASE) == tables_of(migrated / DATABASE)


def test_without_a_place_to_keep_them_nothing_is_kept(
    migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RNNPIPE_CACHE", str(tmp_path / "file"))
    keep_tables(migrated)
    bring_tables(tmp_path / "new")
    assert not (tmp_path / "new").exists()
