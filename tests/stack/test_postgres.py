"""Postgres of the stack: one of the workspace, behind passwords, on loopback, and gone with the stack."""

import signal
import socket
from collections.abc import Iterator

import psycopg
import pytest
from stack_helpers import Stack, needs_postgres, new_stack
from workspaces import wait_for

pytestmark = needs_postgres
ONLY = ("postgres", "databases")


@pytest.fixture
def stack() -> Iterator[Stack]:
    with new_stack() as stack:
        yield stack


def connect(stack: Stack, user: str, database: str, password: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(
        host="127.0.0.1", port=stack.ports["postgres"], user=user, dbname=database, password=password
    )


def test_it_is_safe_and_keeps_what_it_holds(stack: Stack) -> None:
    with stack.running(ONLY) as process:
        old = stack.secret("mlflow_database_password")
        for user, database in (("mlflow", "mlflow"), ("mlflow", "mlflow_logins"), ("prefect", "prefect")):
            with connect(stack, user, database, stack.secret(f"{user}_database_password")) as connection:
                connection.execute("CREATE TABLE kept (number integer)")
        for password in ("", "postgres", old):
            with pytest.raises(psycopg.OperationalError, match="password"):
                connect(stack, "postgres", "postgres", password)
        processes = stack.processes()
        places = [place for each in processes for place in each.net_connections() if place.status == "LISTEN"]
        assert {place.laddr.ip for place in places} == {"127.0.0.1"}
        assert {each.username() for each in processes if each.name() == "postgres"} != {"root"}
        other = stack.start(ONLY)
        assert other.wait() == 6
    assert process.returncode == 0
    (stack.secrets / "mlflow_database_password").unlink()
    with stack.running(ONLY):
        new = stack.secret("mlflow_database_password")
        assert new != old
        with connect(stack, "mlflow", "mlflow", new) as connection:
            connection.execute("SELECT number FROM kept")
        with pytest.raises(psycopg.OperationalError, match="password"):
            connect(stack, "mlflow", "mlflow", old)


def test_a_killed_stack_leaves_nothing_behind_and_starts_again(stack: Stack) -> None:
    with stack.start(ONLY) as process:
        assert len(stack.processes()) > 2
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not stack.processes(), 30)
    with stack.running(ONLY):
        assert "postgres        up" in stack.told()


def test_a_service_that_ends_ends_the_stack_with_its_last_words(stack: Stack) -> None:
    with stack.start(ONLY) as process:
        (server,) = [each for each in stack.processes() if each.name() == "postgres" and "-D" in each.cmdline()]
        server.send_signal(signal.SIGINT)
        assert process.wait(30) == 6
    assert "error: postgres has ended: " in stack.told() and "database system is shut down" in stack.told()
    assert not stack.processes()


def test_a_port_in_use_is_told_with_the_way_out(stack: Stack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.ports["postgres"]))
        taken.listen()
        with stack.start(ONLY) as process:
            assert process.wait(30) == 6
    assert f"port {stack.ports['postgres']} is in use" in stack.told() and "--postgres-port" in stack.told()
