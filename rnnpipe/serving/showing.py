"""`rnnpipe demo`: the page of a registered version, until nobody looks any more."""

import contextlib
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from rnnpipe.errors import ConfigError
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.serving.demo import Demo, demo_app
from rnnpipe.serving.loopback import HOST, listen, server_of
from rnnpipe.serving.readers import readers_of
from rnnpipe.serving.samples import samples_of
from rnnpipe.store import Store
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.promotion import fetch_model
from rnnpipe.tracking.registry import Version


def show(
    tracking: Tracking, version: Version, workspace: Path, *, port: int, opens: bool, tell: Callable[[str], None]
) -> None:
    """Serve the page of a version on loopback and tell its address, until Ctrl-C, which is raised again.

    `opens` opens it in the browser, where there is a screen. ServiceError where the port is taken, ConfigError
    where the net can't read a drawing.
    """
    with contextlib.closing(listen(port, "rnnpipe demo")) as listener:
        store = Store(workspace / "store")
        readers = readers_of(version, fetch_model(tracking, version, workspace), store)
        _refuse_what_is_not_drawn(version, readers[0].spec)
        demo = Demo(readers, samples_of(readers[0].spec, store))
        for reader in readers:
            tell(f"{reader.title}: {reader.what}")
        address = f"http://{HOST}:{port}/"
        tell(f"Draw at {address}")
        tell("Ctrl-C closes the page")
        if opens and _has_screen():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server_of(demo_app(demo)).run(sockets=[listener])


def _refuse_what_is_not_drawn(version: Version, spec: ModelSpec) -> None:
    if spec.channels != 1 or spec.series is not None:
        reads = "series" if spec.series is not None else "images in colour"
        raise ConfigError(
            f"{version.uri} reads {reads}, and the page draws in grey",
            f"classify files instead: rnnpipe predict {version.uri} FILE",
        )


def _has_screen() -> bool:
    """Say whether a browser would have a window: one in the terminal would take it over."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
