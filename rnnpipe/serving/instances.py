"""`mlflow models serve`, once for each version that is to answer; started and stopped by one thread."""

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from rnnpipe.errors import ServiceError
from rnnpipe.evaluation.spec import SPEC_FILE, ModelSpec
from rnnpipe.files import read_json
from rnnpipe.processes.service import is_wanted, keeper_of, start_keeper, using, wait_until_stopped
from rnnpipe.serving.loopback import HOST, free_port
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.page import model_server_command
from rnnpipe.tracking.promotion import fetch_model
from rnnpipe.tracking.registry import Version

START_TIMEOUT_S = 240.0  # on a machine with much else to do; one that ends instead is noticed at once
DRAIN_TIMEOUT_S = 60.0  # as long as MLflow's server lets a request take
POLL_S = 0.1
IN_USE = "address already in use"  # what uvicorn writes where the port is taken


class PortLostError(ServiceError):
    """The port that was free is somebody else's now."""


@dataclass
class Instance:
    """A server of one version: where it answers, what images it takes, and how many requests it works on."""

    version: Version
    spec: ModelSpec
    address: str
    folder: Path
    in_flight: int = 0
    left_at: float = field(default=0.0)

    @property
    def is_alive(self) -> bool:
        """Say whether its process is there."""
        return keeper_of(self.folder) is not None

    @property
    def is_done(self) -> bool:
        """Say whether one that was replaced has answered what it was asked, or had the time to."""
        return not self.in_flight or time.monotonic() > self.left_at + DRAIN_TIMEOUT_S


class Current:
    """Which server answers now; requests hold the one they were given until they have their answer."""

    def __init__(self, first: Instance) -> None:
        self._instance, self._lock = first, threading.Lock()

    @property
    def instance(self) -> Instance:
        """The server that answers now."""
        return self._instance

    @contextlib.contextmanager
    def held(self) -> Iterator[Instance]:
        """Yield the server that answers now; it isn't stopped within the block."""
        with self._lock:
            instance = self._instance
            instance.in_flight += 1
        try:
            yield instance
        finally:
            with self._lock:
                instance.in_flight -= 1

    def switch(self, instance: Instance) -> None:
        """Let another server answer from now on."""
        with self._lock:
            self._instance.left_at = time.monotonic()
            self._instance = instance


class Instances:
    """The servers that were started here. One thread calls it all: the locks of their users belong to it."""

    def __init__(self, tracking: Tracking, workspace: Path) -> None:
        self.tracking, self.folder, self.workspace = tracking, workspace / "serving", workspace
        _sweep(self.folder)
        self._open: list[tuple[Instance, contextlib.ExitStack]] = []

    def start(self, version: Version) -> Instance:
        """Start a server of a version and wait until it answers; ServiceError where it doesn't."""
        while True:
            with contextlib.ExitStack() as opening:
                try:
                    instance = opening.enter_context(self._served(version))
                except PortLostError:  # somebody was quicker; the next one is another
                    continue
                self._open.append((instance, opening.pop_all()))
                return instance

    def stop_replaced(self, current: Instance) -> None:
        """Stop each server that no longer answers, once its requests have their answers."""
        for instance, closing in list(self._open):
            if instance is not current and instance.is_done:
                self._open.remove((instance, closing))
                closing.close()

    def close(self) -> None:
        """Stop all."""
        with contextlib.ExitStack() as all_of_them:
            for _, closing in self._open:
                all_of_them.push(closing)
            self._open = []

    @contextlib.contextmanager
    def _served(self, version: Version) -> Iterator[Instance]:
        model = fetch_model(self.tracking, version, self.workspace)
        spec = ModelSpec.model_validate(read_json(model / SPEC_FILE))
        port = free_port()
        folder = self.folder / f"{version.number}-{port}"
        command, environment = model_server_command(self.tracking.uri, version.uri, port)
        instance = Instance(version, spec, f"http://{HOST}:{port}", folder)
        came_up = False
        try:
            with using(folder):
                start_keeper(folder, command, environment)
                _wait_until_up(instance)
                came_up = True
                yield instance
        finally:
            wait_until_stopped(folder)
            if came_up:  # else its output is looked at
                shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what servers have left that failed, or whose command was killed."""
    for path in folder.glob("*"):
        is_old = path.stat().st_mtime < time.time() - START_TIMEOUT_S  # a younger one may be starting
        if is_old and keeper_of(path) is None and not is_wanted(path):
            shutil.rmtree(path, ignore_errors=True)


def _wait_until_up(instance: Instance) -> None:
    deadline, seen = time.monotonic() + START_TIMEOUT_S, False
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{instance.address}/ping", timeout=2, trust_env=False).is_success:
                return
        seen = seen or instance.is_alive
        if seen and not instance.is_alive:
            break
        time.sleep(POLL_S)
    output = instance.folder / "output.log"
    is_lost = output.exists() and IN_USE in output.read_text(errors="replace")
    kind = PortLostError if is_lost else ServiceError
    raise kind(f"MLflow's server of {instance.version.uri} doesn't come up", f"see {output}")
