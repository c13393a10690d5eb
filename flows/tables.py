"""Prefect's empty tables, kept for a machine: making them takes each new workspace's server four seconds."""

import logging
import os
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from rnnpipe.files import atomic_path, cache_folder, is_own_file

DATABASE = "prefect.db"
READ_VERSION, WRITE_VERSION = "SELECT * FROM alembic_version", "INSERT INTO alembic_version VALUES (?)"
DATABASE_ELSEWHERE = ("PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_")

logger = logging.getLogger("rnnpipe.tables")


def bring_tables(home: Path) -> None:
    """Give a server without a database the tables of its version, if this machine has made them before."""
    if (home / DATABASE).exists() or any(name.startswith(DATABASE_ELSEWHERE) for name in os.environ):
        return
    try:
        kept = _kept()
        if kept.exists() and is_own_file(kept) and _is_whole(kept):
            with atomic_path(home / DATABASE) as new:
                new.write_bytes(kept.read_bytes())
    except (OSError, RuntimeError, sqlite3.Error) as error:
        logger.debug("the server makes its tables itself: %s", error)


def keep_tables(home: Path) -> None:
    """Keep the tables of a running server's database, without what stands in them, for the next new workspace."""
    try:
        kept = _kept()
        if (home / DATABASE).exists() and not (kept.exists() and is_own_file(kept) and _is_whole(kept)):
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_path(kept) as new:
                _copy_tables(home / DATABASE, new)
    except (OSError, RuntimeError, sqlite3.Error) as error:  # such as no home, no place
        logger.debug("Prefect's tables aren't kept: %s", error)


def _kept() -> Path:
    """Return where the tables of this version lie; RuntimeError where the user has no home."""
    return cache_folder() / "tables" / f"prefect-{version('prefect')}.db"


def _copy_tables(source: Path, target: Path) -> None:
    """Write a database with all tables and indexes of another, and the number of its last migration."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        made = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        for (statement,) in old.execute(f"{made} ORDER BY type != 'table'").fetchall():
            new.execute(statement)
        new.executemany(WRITE_VERSION, old.execute(READ_VERSION).fetchall())
        new.commit()


def _is_whole(database: Path) -> bool:
    """Say whether SQLite finds no damage, and the last migration's number is there."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            health = connection.execute("PRAGMA quick_check").fetchone()[0]
            return health == "ok" and len(connection.execute(READ_VERSION).fetchall()) == 1
    except sqlite3.DatabaseError:
        return False
