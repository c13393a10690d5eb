"""The stack without containers: every service a process below a keeper, up in order, and gone with this one."""

import contextlib
import importlib.util
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from flows.stack.health import check_health
from flows.stack.places import Places
from flows.stack.secret_files import SECRETS, make_secrets, read_secret
from flows.stack.services import CLIENT, CLIENT_SECRETS, SERVICES, filled
from rnnpipe.errors import ServiceError
from rnnpipe.files import write_bytes
from rnnpipe.processes.service import STATE, keeper_of, start_keeper, using, wait_until_stopped

START_TIMEOUT_S = 300.0  # on a busy machine; an idle one needs half a minute for them all
KILL_TIMEOUT_S = 10.0  # beyond its patience
POLL_S = 0.5
COMMAND = (sys.executable, "-P", "-m", "rnnpipe", "stack", "service")
OF_OTHER_SERVERS = ("PREFECT_", "MLFLOW_", "POSTGRES_", "PG")  # what a user has set for servers of his own
CLIENT_FILE = "client.sh"

Tell = Callable[[str], object]


def run_stack(places: Places, without: Collection[str], tell: Tell) -> NoReturn:
    """Start the stack and tell its addresses; whatever ends this, all services are stopped, the last one first.

    ServiceError if a service doesn't come up, or ends.
    """
    for package in ("psycopg", "flask_wtf"):
        if importlib.util.find_spec(package) is None:
            raise ServiceError(f"the stack needs {package}", "pip install 'rnnpipe[server]'")
    with _only_one(places.folder), contextlib.ExitStack() as services:
        make_secrets(places.secrets)
        for name in SECRETS:
            read_secret(places.secrets, name)
        stack = _Stack(places, tell)
        names = [name for name in SERVICES if name not in without]
        for name in names:
            stack.wait_for([earlier for earlier in SERVICES[name].after if earlier in names])
            if SERVICES[name].ends:
                stack.do(name)
            else:
                services.enter_context(stack.running(name))
        servers = [name for name in names if not SERVICES[name].ends]
        stack.wait_for(servers)
        _tell_addresses(places, tell)
        while True:
            for name in servers:
                stack.check_running(name)
            time.sleep(1)


class _Stack:
    """The services that were started, and which of them are up."""

    def __init__(self, places: Places, tell: Tell) -> None:
        self.places = places
        self.tell = tell
        self.begun_s = time.monotonic()
        self.up: set[str] = set()

    def do(self, name: str) -> None:
        """Run a service that ends, to its end."""
        self._folder(name).mkdir(exist_ok=True)
        with self._output(name).open("ab") as output:
            code = subprocess.call(
                COMMAND, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment(name)
            )
        if code:
            raise self._ended(name)
        self._tell_up(name, "done")

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Let a service run for the length of the block."""
        folder = self._folder(name)
        self._wait_until_gone(name)  # of a stack that was killed a moment ago
        self._check_port(name)
        (folder / STATE).unlink(missing_ok=True)
        try:
            with using(folder):
                start_keeper(folder, COMMAND, self._environment(name), SERVICES[name].patience_s)
                self._wait(name, (folder / STATE).exists)  # only now can its end be waited for
                yield
        finally:
            self._wait_until_gone(name)

    def wait_for(self, names: Collection[str]) -> None:
        """Wait until services do their work."""
        for name in names:
            if name not in self.up and not SERVICES[name].ends:
                self._wait(name, partial(self._is_healthy, name))
                self._tell_up(name, "up")

    def check_running(self, name: str) -> None:
        """Return if a service has not ended; ServiceError if it has."""
        if keeper_of(self._folder(name)) is None:
            raise self._ended(name)

    def _is_healthy(self, name: str) -> bool:
        self.check_running(name)
        with contextlib.suppress(ServiceError):
            check_health(name, self.places)
            return True
        return False

    def _wait(self, name: str, is_true: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_true():
            if time.monotonic() > deadline_s:
                raise ServiceError(f"{name} doesn't come up", f"see {self._output(name)}")
            time.sleep(POLL_S)

    def _wait_until_gone(self, name: str) -> None:
        if not wait_until_stopped(self._folder(name), SERVICES[name].patience_s + KILL_TIMEOUT_S):
            raise ServiceError(f"{name} doesn't stop", f"see {self._output(name)}")

    def _check_port(self, name: str) -> None:
        if not hasattr(self.places, name):
            return
        with socket.socket() as probe:
            if probe.connect_ex((self.places.asked, port := self.places.port_of(name))) == 0:
                raise ServiceError(f"port {port} is in use", f"rnnpipe stack up --{name}-port with a free one")

    def _tell_up(self, name: str, how: str) -> None:
        self.up.add(name)
        self.tell(f"{name:15} {how} after {time.monotonic() - self.begun_s:.1f} s")

    def _ended(self, name: str) -> ServiceError:
        lines = self._output(name).read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
        return ServiceError(f"{name} has ended: {last}", f"see {self._output(name)}")

    def _folder(self, name: str) -> Path:
        return self.places.folder / name

    def _output(self, name: str) -> Path:
        return self._folder(name) / "output.log"

    def _environment(self, name: str) -> dict[str, str]:
        others = {key: value for key, value in os.environ.items() if not key.startswith(OF_OTHER_SERVERS)}
        return {**others, **self.places.variables(), "RNNPIPE_SERVICE": name}


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "stack.lock", timeout=0):
            yield
    except Timeout:
        raise ServiceError("the stack of this workspace is running already", "stop that one with Ctrl-C") from None


def _tell_addresses(places: Places, tell: Tell) -> None:
    """Tell where the pages are, and leave a file that lets a shell use them; it names the secrets' files only."""
    lines = [f"export {name}={shlex.quote(filled(value, places))}" for name, value in CLIENT.items()]
    files = {name: shlex.quote(str(places.secrets / secret)) for name, secret in CLIENT_SECRETS.items()}
    lines += [f'export {name}="$(cat {path})"' for name, path in files.items()]
    path = places.folder / CLIENT_FILE
    write_bytes(path, "\n".join([*lines, ""]).encode())
    tell(f"Prefect  {places.prefect_page}  log in with what stands in {places.secrets / 'prefect_login'}")
    tell(f"MLflow   {places.mlflow_page}  user admin, password in {places.secrets / 'mlflow_password'}")
    tell(f"in another shell: source {shlex.quote(str(path))}")
    tell("Ctrl-C stops it all")
