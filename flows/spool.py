"""Where outcomes lie that MLflow doesn't hold completely yet; known without Prefect and MLflow."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from rnnpipe.processes.lifetime import is_held


def spool_folder(workspace: Path) -> Path:
    """Return the folder of the outcomes that MLflow doesn't hold completely yet."""
    return workspace / "spool"


def spooled(workspace: Path) -> list[Path]:
    """Return the outcomes that MLflow doesn't hold completely yet, oldest first."""
    return sorted(spool_folder(workspace).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)


def waiting(workspace: Path) -> list[Path]:
    """Return those of them that no living run is delivering."""
    return [path for path in spooled(workspace) if not (_lock_file(path).exists() and is_held(_lock_file(path)))]


@contextlib.contextmanager
def delivering(path: Path) -> Iterator[None]:
    """Hold an outcome for the length of the block: it isn't taken for one that waits. Any death lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_file(path)):
        try:
            yield
        finally:
            _lock_file(path).unlink(missing_ok=True)


def _lock_file(path: Path) -> Path:
    return path.with_suffix(".lock")
