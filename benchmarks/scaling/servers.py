"""The servers that are asked: Postgres as `rnnpipe stack up` starts it, MLflow's and Prefect's beside it."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.suite import ROOT
from flows.environment import DEFAULTS
from flows.stack.databases import DATABASES
from flows.stack.places import VARIABLES
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.tracking.page import LEAN

START_TIMEOUT_S = 900.0  # on a busy machine
POLL_S = 0.2
SERVICES_S = 15.0  # they have no page that tells that they are up
OF_OTHER_SERVERS = ("PREFECT_", "MLFLOW_", "POSTGRES_", "PG", "RNNPIPE_")


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A cluster of its own below a folder, with the users and databases that the stack has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.password = secrets.token_hex(12)
        self.environment = {
            **_without_others(),
            "RNNPIPE_HOME": str(folder),
            VARIABLES["postgres"]: f"127.0.0.1:{self.port}",
            "PGPASSWORD": self.password,
            **{f"{user.upper()}_DATABASE_PASSWORD": self.password for user in DATABASES},
        }

    def address(self, driver: str, user: str) -> str:
        """Return the address of a user's database; the password comes as PGPASSWORD."""
        return f"postgresql+{driver}://{user}@127.0.0.1:{self.port}/{user}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let it run for the length of the block."""
        self.folder.chmod(0o755)  # where this process is root, the cluster's owner is another user
        (self.folder / "stack" / "postgres").mkdir(parents=True)
        environment = {**self.environment, "POSTGRES_PASSWORD": self.password}
        with started([sys.executable, "-m", "flows.stack.postgres"], environment, self.folder / "postgres.log"):
            _wait_until(self._answers, self.folder / "postgres.log")
            subprocess.run(
                [sys.executable, "-m", "flows.stack.databases"], check=True, cwd=ROOT, env=self.environment
            )
            yield

    def _answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.OperationalError):
            reach: dict[str, Any] = {"user": "postgres", "password": self.password, "dbname": "postgres"}
            psycopg.connect(host="127.0.0.1", port=self.port, **reach).close()
            return True
        return False


@contextlib.contextmanager
def mlflow_server(
    uri: str, folder: Path, environment: Mapping[str, str], workers: int = 1, **settings: str
) -> Iterator[str]:
    """Let MLflow's server run on a database for the length of the block, and yield its address."""
    port, folder = free_port(), folder / "mlflow"
    folder.mkdir(exist_ok=True)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", "127.0.0.1",
        "--port", str(port), "--workers", str(workers), "--artifacts-destination", str(folder / "artifacts"),
        "--uvicorn-opts", "--no-access-log",
    ]  # fmt: skip
    with started(command, {**environment, **LEAN, **settings}, folder / "output.log"):
        _wait_until(lambda: _is_well(f"http://127.0.0.1:{port}/health"), folder / "output.log")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def prefect_server(
    database: str, folder: Path, environment: Mapping[str, str], options: Sequence[str] = (), **settings: str
) -> Iterator[str]:
    """Let Prefect's server run on a database for the length of the block, and yield its address."""
    port = free_port()
    folder.mkdir(exist_ok=True, parents=True)
    own = {
        **DEFAULTS,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "30",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "30",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_STATIC_DIRECTORY": str(folder / "pages"),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started([*command, *options], {**environment, **own, **settings}, folder / "output.log"):
        _wait_until(lambda: _is_well(f"http://127.0.0.1:{port}/api/health"), folder / "output.log")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def redis_server(program: str, folder: Path) -> Iterator[str]:
    """Let Redis run for the length of the block, without a file of its own, and yield its address."""
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with started(command, _without_others(), folder / "redis.log"):
        _wait_until(lambda: _listens(port), folder / "redis.log")
        yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def prefect_services(
    database: str, folder: Path, environment: Mapping[str, str], broker: Mapping[str, str]
) -> Iterator[None]:
    """Let Prefect's scheduler and its other services run, once for all servers."""
    folder.mkdir(exist_ok=True)
    own = {**DEFAULTS, "PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_CONNECTION_URL": database, **broker}
    command = [sys.executable, "-m", "prefect", "server", "services", "start"]
    with started(command, {**environment, **own}, folder / "output.log") as process:
        time.sleep(SERVICES_S)
        assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE, "Prefect's services have ended"
        yield


@contextlib.contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[psutil.Popen]:
    """Let a process run for the length of the block; its output goes to a file."""
    with log.open("ab") as output:
        process = psutil.Popen(
            list(command), cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        stop_process(process, 60)


def server_environment() -> dict[str, str]:
    """Return the environment of a server that has no database elsewhere."""
    return _without_others()


def _without_others() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_OTHER_SERVERS)}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}


def _is_well(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(address, timeout=5).is_success
    return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_until(is_true: object, log: Path) -> None:
    assert callable(is_true)
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not is_true():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"a server doesn't come up: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(POLL_S)
