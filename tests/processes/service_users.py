"""Users of a background service, each in a process of its own."""

import os
import sys
import time
from pathlib import Path

from filelock import FileLock

from rnnpipe.processes.service import is_running, keeper_of, start_keeper, using, wait_until_stopped

SERVICE = [sys.executable, "-c", "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"]


def services_started(folder: Path) -> list[int]:
    """Return the process numbers of all services so far."""
    output = folder / "output.log"
    return [int(line) for line in output.read_text().split()] if output.exists() else []


def start_if_needed(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "start.lock"):
        if not is_running(folder):
            wait_until_stopped(folder)
            earlier = services_started(folder)
            start_keeper(folder, SERVICE, dict(os.environ))
            while not (is_running(folder) and len(services_started(folder)) > len(earlier)):
                time.sleep(0.02)
    assert keeper_of(folder) is not None


def use(folder: Path) -> None:
    """Use the service until a file named `leave` appears."""
    with using(folder):
        start_if_needed(folder)
        (folder / f"using-{os.getpid()}").touch()
        while not (folder / "leave").exists():
            time.sleep(0.02)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
