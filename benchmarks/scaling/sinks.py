"""Where synthetic rows go: into the tables that a server has made itself. Here those of an SQLite file."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Protocol


class Sink(Protocol):
    """A database that takes rows."""

    kind: str

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table that can be written."""

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Append rows."""

    def loading(self, tables: Sequence[str]) -> AbstractContextManager[None]:
        """Let much be written to tables within the block."""

    def settle(self) -> None:
        """Let the database learn what its tables hold now, as it does by itself within minutes."""

    def size_bytes(self) -> int:
        """Return what the database takes on the disk."""

    def interval(self, seconds: float) -> str:
        """Return a length of time as Prefect keeps it there."""


class SqliteSink:
    """An SQLite file that a server or a process may have open."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table that can be written."""
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
        return [name for _, name, *_, hidden in found if not hidden]

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Append rows in one transaction."""
        names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" * len(columns))
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            connection.executemany(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', rows)  # noqa: S608

    def loading(self, tables: Sequence[str]) -> AbstractContextManager[None]:
        """Change nothing: rows go into the tables as they are."""
        return nullcontext()

    def settle(self) -> None:
        """Write the log back into the file; SQLite learns nothing by itself, so it is told nothing here."""
        with closing(sqlite3.connect(self.path, timeout=60)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size_bytes(self) -> int:
        """Return what the file takes on the disk."""
        return self.path.stat().st_size

    def interval(self, seconds: float) -> str:
        """Return a length of time as SQLAlchemy keeps it in SQLite: a time since 1970."""
        return f"1970-01-01 00:{int(seconds) // 60:02}:{int(seconds) % 60:02}.000000"
