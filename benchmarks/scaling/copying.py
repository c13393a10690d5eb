"""Synthetic rows into a database of Postgres, by COPY."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

KEYS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE contype = 'p' AND conrelid::regclass::text = ANY(%s)"
)
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND NOT indexname = ANY(%s)"


class PostgresSink:
    """A database of Postgres, written as its superuser and without looking at foreign keys."""

    kind = "postgres"

    def __init__(self, port: int, database: str, password: str) -> None:
        self._reach: dict[str, Any] = {
            "host": "127.0.0.1", "port": port, "user": "postgres", "dbname": database, "password": password,
            "autocommit": True,
        }  # fmt: skip

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table that can be written."""
        query = (
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position"
        )
        with psycopg.connect(**self._reach) as connection:
            return [name for (name,) in connection.execute(query, [table])]

    def write(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Append rows by COPY."""
        command = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with psycopg.connect(**self._reach) as connection:
            connection.execute("SET session_replication_role = replica")  # flow runs and states need each other
            connection.execute("SET TimeZone = 'UTC'")
            with connection.cursor().copy(command) as copy:
                for row in rows:
                    copy.write_row(row)

    @contextlib.contextmanager
    def loading(self, tables: Sequence[str]) -> Iterator[None]:
        """Take keys and indexes of tables away within the block, and make them anew: many times as fast."""
        with psycopg.connect(**self._reach) as connection:
            keys = connection.execute(KEYS, [list(tables)]).fetchall()
            indexes = connection.execute(INDEXES, [list(tables), [name for _, name, _ in keys]]).fetchall()
            for table, name, _ in keys:
                connection.execute(_statement("ALTER TABLE {} DROP CONSTRAINT {}", table, name))
            for name, _ in indexes:
                connection.execute(_statement("DROP INDEX {}", name))
        yield
        with psycopg.connect(**self._reach) as connection:
            connection.execute("SET maintenance_work_mem = '512MB'")
            for table, name, definition in keys:
                added = _statement("ALTER TABLE {} ADD CONSTRAINT {} ", table, name)
                connection.execute(added + sql.SQL(definition))
            for _, definition in indexes:
                connection.execute(definition)

    def settle(self) -> None:
        """Do what autovacuum does."""
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def execute(self, statement: str) -> None:
        """Execute a statement that stands in this code."""
        with psycopg.connect(**self._reach) as connection:
            connection.execute(statement.encode())

    def size_bytes(self) -> int:
        """Return what the database takes on the disk."""
        with psycopg.connect(**self._reach) as connection:
            found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            assert found is not None
            return int(found[0])

    def interval(self, seconds: float) -> str:
        """Return a length of time as Prefect keeps it in Postgres."""
        return f"{seconds} seconds"


def _statement(text: str, *names: str) -> sql.Composed:
    """Return a statement that stands in this code, with names in it."""
    return sql.SQL(text).format(*map(sql.Identifier, names))
