"""`rnnpipe serve-model`: the front, and behind it a server of the version that the alias names."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from rnnpipe.errors import RnnpipeError, TrackingError
from rnnpipe.serving.front import front_app
from rnnpipe.serving.instances import Current, Instances
from rnnpipe.serving.loopback import HOST, answering, listen
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.registry import Version, resolve_model_uri

LOOK_S = 1.0
RETRY_S = 60.0  # after a version that doesn't start

Tell = Callable[[str], None]


def serve(tracking: Tracking, model: str, workspace: Path, *, port: int, tell: Tell) -> NoReturn:
    """Serve what `model` means on loopback, also after its alias has moved, until KeyboardInterrupt.

    ServiceError where the port is taken, or the first server doesn't come up.
    """
    with (
        contextlib.closing(listen(port, "rnnpipe serve-model")) as listener,
        contextlib.closing(Instances(tracking, workspace)) as instances,
    ):
        current = Current(instances.start(resolve_model_uri(tracking, model)))
        with answering(front_app(current), listener):
            tell(f"{_named(current.instance.version)} answers at http://{HOST}:{port}/invocations")
            tell("Ctrl-C stops it")
            follower = Follower(model, instances, current, tell)
            while True:
                time.sleep(LOOK_S)
                follower.look()


class Follower:
    """Keeps a server of the version that is meant; what goes wrong is told once, and the old one goes on."""

    def __init__(self, model: str, instances: Instances, current: Current, tell: Tell) -> None:
        self.model, self.instances, self.current, self.tell = model, instances, current, tell
        self._failed: tuple[int, float] = (0, 0.0)
        self._told = ""

    def look(self) -> None:
        """Replace the server if another version is meant, or if it has died; stop those that are done."""
        self.instances.stop_replaced(self.current.instance)
        answers = self.current.instance
        try:
            wanted = resolve_model_uri(self.instances.tracking, self.model)
        except TrackingError as error:
            self._tell_once(f"{error.message}; {answers.version.uri} goes on answering")
            wanted = answers.version
        if wanted.number == answers.version.number and answers.is_alive:
            return
        number, failed_at = self._failed
        if wanted.number != number or time.monotonic() > failed_at + RETRY_S:
            self._replace(wanted)

    def _replace(self, wanted: Version) -> None:
        before = self.current.instance
        try:
            instance = self.instances.start(wanted)
        except (RnnpipeError, OSError, ValueError) as error:  # a full disk, files of another rnnpipe
            self._failed = (wanted.number, time.monotonic())
            self._tell_once(f"{error}\n{before.version.uri} stays; another try in {RETRY_S:.0f} s")
            return
        self.current.switch(instance)
        self._told = ""
        self.tell(f"{before.version.uri} → {_named(wanted)}")

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.tell(text)


def _named(version: Version) -> str:
    return f"{version.uri} ({version.tags.get('rnnpipe.variant') or 'unnamed'})"
