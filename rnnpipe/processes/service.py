"""A background service that lives exactly as long as somebody uses it.

Each user holds an OS lock on a file of its own in the service's `users` folder. The keeper process (this
module, run with -m) starts the service and stops it as soon as no lock is held: any death frees a lock, so
a killed user leaves nothing behind. `keep` in the folder holds the service without a user (`rnnpipe up`).
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock

from rnnpipe.files import read_json, write_json
from rnnpipe.processes.lifetime import die_with_parent, is_held, stop_process

KEEP = "keep"
POLL_S = 0.25
STATE = "service.json"
STOPPING = "stopping"


def _registry(folder: Path) -> FileLock:
    """Return the lock under which users come and the keeper decides to stop: neither misses the other."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "registry.lock", is_singleton=False)


def is_wanted(folder: Path) -> bool:
    """Say whether a service is kept or has a living user; the lock files of the dead are removed."""
    wanted = (folder / KEEP).exists()
    for path in (folder / "users").glob("*.lock"):
        if is_held(path):
            wanted = True
        else:
            path.unlink(missing_ok=True)
    return wanted


@contextlib.contextmanager
def using(folder: Path) -> Iterator[None]:
    """Hold a service for the length of the block."""
    path = folder / "users" / f"{uuid4().hex}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    with _registry(folder):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def start_keeper(
    folder: Path, command: Sequence[str], environment: dict[str, str], patience_s: float = 10.0
) -> None:
    """Start `command` below a keeper process in a session of its own; its output goes to output.log.

    Asked to end, it gets `patience_s` seconds before it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.log").open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "rnnpipe.processes.service", str(folder), str(patience_s), *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True,
        )  # fmt: skip
    keeper.returncode = 0  # it outlives this process on purpose: no warning when the handle goes


def keeper_of(folder: Path) -> psutil.Process | None:
    """Return the keeper of a service that is running or stopping, else None."""
    try:
        state = read_json(folder / STATE)
        keeper = psutil.Process(state["keeper"])
        is_it = keeper.create_time() == state["created_at"] and keeper.status() != psutil.STATUS_ZOMBIE
        return keeper if is_it else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None


def is_running(folder: Path) -> bool:
    """Say whether a service has a keeper that hasn't decided to stop it."""
    return keeper_of(folder) is not None and not (folder / STOPPING).exists()


def wait_until_stopped(folder: Path, timeout_s: float = 30.0) -> bool:
    """Wait until the keeper and its service are gone; False when they are still there after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while keeper_of(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def keep(folder: Path, patience_s: float, command: Sequence[str]) -> int:
    """Run `command` until nobody wants it any more; the body of the keeper process."""
    keeper = psutil.Process()
    (folder / STOPPING).unlink(missing_ok=True)
    write_json(folder / STATE, {"keeper": keeper.pid, "created_at": keeper.create_time()})
    service = subprocess.Popen(command, preexec_fn=lambda: die_with_parent(keeper.pid))  # noqa: PLW1509 (one thread)
    while service.poll() is None and not _retires(folder):
        time.sleep(POLL_S)
    (folder / STOPPING).touch()
    if service.poll() is None:
        stop_process(psutil.Process(service.pid), patience_s)
    return service.wait()


def _retires(folder: Path) -> bool:
    with _registry(folder):
        wanted = is_wanted(folder)
        if not wanted:
            (folder / STOPPING).touch()
    return not wanted


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
