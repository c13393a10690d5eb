"""Files that appear whole or not at all, and the digests that name them."""

import hashlib
import json
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import psutil

from rnnpipe import faults

CHUNK_BYTES = 1 << 20
CODE, ALL_FILES = ("**/*.py", "**/*.[ch]"), "**/*"
MAX_JSON_BYTES = 16 << 20
MAX_JSON_BRACKETS = 200_000  # millions of empty lists take seconds and a GiB
SCRATCH = ".rnnpipe.*"  # scratch folders in the system's place for such
SUFFIX = ".tmp"  # of temporary files and folders: .NAME.HOST-PROCESS.RANDOM.tmp
FORGOTTEN_S = 86_400.0  # after a day a temporary file of another host counts as left behind
CLOCK_TOLERANCE_S = 10.0  # correcting the clock moves the start times of processes


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, no NaN (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest_of(value: Any) -> str:
    """Return the SHA-256 (hex) of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path, *patterns: str) -> str:
    """Return one SHA-256 (hex) over names and contents of files below `folder`: the code, or these patterns.

    What Python has compiled itself doesn't count.
    """
    found = {path for pattern in patterns or CODE for path in folder.glob(pattern) if path.is_file()}
    paths = sorted(path for path in found if path.suffix != ".pyc" and "__pycache__" not in path.parts)
    return digest_of([(path.relative_to(folder).as_posix(), sha256_file(path)) for path in paths])


def cache_folder() -> Path:
    """Return where this user keeps what any workspace can make again; RuntimeError where the user has no home."""
    own = os.environ.get("RNNPIPE_CACHE")
    return Path(own or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnpipe")


def is_inside(name: str) -> bool:
    """Say whether a file of this name lies in its folder; what a foreign manifest names may lie elsewhere."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def is_own_file(path: Path) -> bool:
    """Say whether only this user, or root, could have written a file."""
    status = path.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where the platform lets folders be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success it becomes `path`, synced, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_prefix(path.name), suffix=SUFFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        faults.reach("before-write", path.name)
        yield temporary
        faults.reach("before-fsync", path.name)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        with faults.around("rename", path.name):
            temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder, in `parent` or the system's place for such, that is gone after the block."""
    with tempfile.TemporaryDirectory(prefix=_prefix("rnnpipe"), suffix=SUFFIX, dir=parent) as name:
        yield Path(name)


def remove_folder(folder: Path) -> None:
    """Remove a folder whole or not at all: half of one would look like one to go on with."""
    with scratch_folder(folder.parent) as scratch, faults.around("remove", folder.name):
        folder.rename(scratch / folder.name)


class Usage(NamedTuple):
    """The bytes of a folder's files, and when something in it was last written, in seconds since 1970."""

    size_bytes: int
    written_s: float


def usage_of(path: Path) -> Usage:
    """Return what a folder, or a file, takes up; what vanishes meanwhile doesn't count."""
    paths = [path, *(Path(top, name) for top, folders, files in os.walk(path) for name in (*folders, *files))]
    found = []
    for each in paths:
        with suppress(FileNotFoundError):
            found.append(each.lstat())
    size_bytes = sum(each.st_size for each in found if not stat.S_ISDIR(each.st_mode))
    return Usage(size_bytes, max((each.st_mtime for each in found), default=0.0))


def left_temporaries(folder: Path, pattern: str = "**/.*") -> list[Path]:
    """Return the temporary files and folders that dead processes left in `folder` or below."""
    return [path for path in folder.glob(f"{pattern}{SUFFIX}") if _is_left_behind(path)]


def sweep_temporaries(folder: Path, pattern: str = "**/.*") -> None:
    """Remove the temporary files and folders that dead processes left in `folder` or below; those at work stay."""
    for path in left_temporaries(folder, pattern):
        with suppress(FileNotFoundError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_own_temporaries(folder: Path) -> None:
    """Remove what this process has half-written in `folder` or below: its last act, where threads were cut off."""
    for path in folder.glob(f"**/.*.{_host()}-{os.getpid()}.*{SUFFIX}"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _prefix(name: str) -> str:
    """Return how the names of this process' temporary files begin: whose they are can be told from them."""
    return f".{name}.{_host()}-{os.getpid()}."


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_left_behind(path: Path) -> bool:
    try:
        written_s = path.stat().st_mtime
    except FileNotFoundError:  # its process has just removed it
        return False
    host, _, process = path.name.removesuffix(SUFFIX).split(".")[-2].partition("-")
    if host != _host() or not process.isdecimal():
        return time.time() - written_s > FORGOTTEN_S
    try:
        writer = psutil.Process(int(process))
        # where nobody waits for orphans, as in many containers, the dead stay as zombies; or a younger process
        # has the number
        is_dead = writer.status() == psutil.STATUS_ZOMBIE
        return is_dead or writer.create_time() > written_s + CLOCK_TOLERANCE_S
    except psutil.NoSuchProcess:
        return True


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file for people and programs (sorted, indented), whole or not at all."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; ValueError where it isn't JSON, or is too large or nested too deeply to be one of ours."""
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_JSON_BYTES >> 20} MiB")
    if content.count(b"[") + content.count(b"{") > MAX_JSON_BRACKETS:
        raise ValueError(f"{path.name} has more than {MAX_JSON_BRACKETS:,} lists and objects")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
