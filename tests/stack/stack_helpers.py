"""The stack of the tests: its ports are free, its secrets known, its processes counted; and compose's files."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from workspaces import Done, Workspace, done, wait_for

from flows.stack.secret_files import SECRETS, make_secrets
from flows.stack.services import SERVICES

ROOT = Path(__file__).parents[2]
NAMES = ("postgres", "prefect", "mlflow")
needs_postgres = pytest.mark.skipif(
    not (shutil.which("postgres") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))),
    reason="Postgres isn't installed: apt-get install postgresql",
)
STOP_TIMEOUT_S = 240.0  # a worker alone has 75


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """Return a compose file as compose sees it where .env is that of the example."""
    text = (ROOT / "docker" / name).read_text(encoding="utf-8")
    example = (ROOT / "docker" / ".env.example").read_text(encoding="utf-8")
    values = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    filled = re.sub(r"\$\{(\w+):[-?][^}]*\}", lambda match: values[match[1]], text)
    content: dict[str, Any] = yaml.safe_load(filled)
    return content


def free_ports() -> dict[str, int]:
    """Return a free port for each server, all held while they are chosen."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in NAMES]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: int(each.getsockname()[1]) for name, each in zip(NAMES, sockets, strict=True)}


@dataclass
class Stack:
    """A workspace whose stack is started with `running`; anybody may enter it, as Postgres doesn't run as root."""

    folder: Path
    ports: dict[str, int] = field(default_factory=free_ports)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.folder)
        self.secrets = self.workspace.home / "stack" / "secrets"
        self.output = self.folder / "stack.log"

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text(encoding="ascii").strip()

    def known_secrets(self) -> dict[str, str]:
        """Return what may stand nowhere but in the files of the secrets."""
        make_secrets(self.secrets)
        return {name: self.secret(name).rpartition(":")[2] for name in SECRETS}

    @property
    def client(self) -> dict[str, str]:
        """The environment of a client, from the file that the stack leaves for shells."""
        script = f". '{self.workspace.home}/stack/client.sh'; env -0"
        shown = subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={}
        ).stdout
        return dict(line.split("=", 1) for line in shown.split("\0") if line.startswith(("PREFECT_", "MLFLOW_")))

    def start(self, only: tuple[str, ...] = tuple(SERVICES)) -> "subprocess.Popen[bytes]":
        """Start the stack with some of its services, and wait until they are up, or it has ended."""
        ports = [part for name, port in self.ports.items() for part in (f"--{name}-port", str(port))]
        without = [part for name in SERVICES if name not in only for part in ("--without", name)]
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "rnnpipe", "stack", "up", *ports, *without], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, cwd=self.folder, env=self.workspace.environment,
            )  # fmt: skip
        wait_for(lambda: "Ctrl-C stops" in self.told() or process.poll() is not None)
        return process

    @contextmanager
    def running(self, only: tuple[str, ...] = tuple(SERVICES)) -> Iterator["subprocess.Popen[bytes]"]:
        """Let the stack run for the length of the block; then nothing of it may be left."""
        with self.start(only) as process:
            try:
                assert process.poll() is None, self.told()
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(STOP_TIMEOUT_S)
        assert not self.processes()

    def told(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of the workspace; Postgres' own have its cluster as their folder."""
        found = {process.pid: process for process in self.workspace.processes()}
        for process in psutil.process_iter():
            try:
                if str(self.folder) in process.cwd() or str(self.folder) in " ".join(process.cmdline()):
                    found[process.pid] = process
            except psutil.Error:
                continue
        return [process for process in found.values() if _is_alive(process)]

    def rnnpipe(self, *arguments: object, environment: dict[str, str] | None = None) -> Done:
        """Run a command in the workspace, as a client of the stack."""
        command = [sys.executable, "-m", "rnnpipe", *map(str, arguments)]
        with subprocess.Popen(
            command, cwd=self.folder, env={**self.workspace.environment, **self.client, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            return done(process)


@contextmanager
def new_stack() -> Iterator[Stack]:
    """Yield a stack in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="rnnpipe stack "))
    folder.chmod(0o755)
    try:
        yield Stack(folder)
    finally:
        shutil.rmtree(folder)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended just now
        return False
