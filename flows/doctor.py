"""Whether all is well with a workspace and what it needs: one finding each, with what to do about it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil
from filelock import FileLock, SoftFileLock

from flows.health import check_mlflow, check_prefect
from flows.spool import waiting
from flows.stack.places import places_of_environment
from flows.stack.secret_files import SECRETS, read_secret
from rnnpipe.credentials import is_known
from rnnpipe.errors import RnnpipeError
from rnnpipe.files import left_temporaries, scratch_folder
from rnnpipe.holding import holder_of
from rnnpipe.processes.lifetime import is_held
from rnnpipe.processes.slots import cpu_cores, locks_folder
from rnnpipe.store import Store, lock_file

LEAST_FREE_GIB = 1.0
# on these, what one machine locks another may not see, or a lock outlives its holder
REMOTE_FILE_SYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "lustre",
    "fuse.sshfs",
    "webdav",
}
PREFIXES = ("MLFLOW_", "PREFECT_", "RNNPIPE_", "POSTGRES_", "MINIO_", "AWS_")


@dataclass(frozen=True)
class Finding:
    """What was found about a subject; with a fix where something is to be done."""

    subject: str
    text: str
    fix: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing is to be done."""
        return not self.fix


def examine(workspace: Path) -> Iterator[Finding]:
    """Look at everything and yield a finding each; changes nothing in the workspace."""
    for subject, check in CHECKS.items():
        try:
            yield Finding(subject, check(workspace))
        except RnnpipeError as error:
            yield Finding(subject, error.message, error.fix)
        except OSError as error:
            yield Finding(subject, str(error), "make it readable and writable for this user")
        except Exception as error:  # a sick driver or package can raise anything, and the other checks count too
            text = f"can't be checked: {type(error).__name__}: {error}"
            yield Finding(subject, text, "install rnnpipe and what it needs anew; if that doesn't help, report it")


def check_workspace(workspace: Path) -> str:
    """Say that files can be written and locked in the workspace; RnnpipeError where not."""
    place = _nearest(workspace)
    other = "or set RNNPIPE_HOME to another folder"
    if not place.is_dir():
        raise RnnpipeError(f"{place} is no folder", f"move that file away, {other}")
    kind = _file_system_of(place)
    if kind in REMOTE_FILE_SYSTEMS:
        raise RnnpipeError(
            f"{workspace} is on a network file system ({kind}), whose locks can't be relied on",
            "set RNNPIPE_HOME to a folder on a disk of this machine",
        )
    if not workspace.exists():
        if not os.access(place, os.W_OK | os.X_OK):
            raise RnnpipeError(f"{workspace} can't be made: {place} isn't writable", f"make it writable, {other}")
        return f"{workspace} isn't there yet; the first run makes it"
    try:
        with scratch_folder(workspace) as folder:
            lock = FileLock(folder / "lock", is_singleton=False)
            with lock:
                locks = is_held(folder / "lock") and not isinstance(lock, SoftFileLock)
    except OSError as error:
        fix = f"free space on the disk, or make the folder writable, {other}"
        raise RnnpipeError(f"{workspace} can't be written: {error.strerror}", fix) from error
    if not locks:
        raise RnnpipeError(f"the file system of {workspace} doesn't lock files", f"use a local disk, {other}")
    return f"{workspace} can be written and locked"


def check_space(workspace: Path) -> str:
    """Say how much space is left; RnnpipeError where it is too little for a run."""
    free_gib = psutil.disk_usage(str(_nearest(workspace))).free / 2**30
    if free_gib < LEAST_FREE_GIB:
        raise RnnpipeError(
            f"{free_gib:.1f} GiB are free, a run may need {LEAST_FREE_GIB:g}",
            "free space on that disk, or set RNNPIPE_HOME to a folder on another",
        )
    return f"{free_gib:.1f} GiB are free"


def check_store(workspace: Path) -> str:
    """Say what the store holds, every file verified; RnnpipeError where a file isn't what it was."""
    stock = Store(workspace / "store").take_stock()
    if stock.damaged:
        folders = " ".join(map(str, stock.damaged))
        raise RnnpipeError(
            f"files don't match their digests in {_named(stock.damaged)}",
            f"run their config again, which makes them anew, or remove them: rm -r {folders}",
        )
    in_work = [path for path in stock.unfinished if lock_file(path).exists() and is_held(lock_file(path))]
    left = [path for path in stock.unfinished if path not in in_work]
    parts = [f"{stock.whole} outputs, every file verifies"]
    parts += [f"{_named([path])} in work by {holder_of(lock_file(path))}" for path in in_work]
    parts += [f"unfinished: {_named(left)}; the command that began it goes on from there"] if left else []
    return "; ".join(parts)


def check_temporaries(workspace: Path) -> str:
    """Say that no killed process left a half-written file; RnnpipeError where one did."""
    if left := left_temporaries(workspace):
        raise RnnpipeError(
            f"killed processes left {len(left)} half-written files, such as {left[0]}",
            "rnnpipe sync removes them, and so does the next run",
        )
    return "no half-written files"


def check_spool(workspace: Path) -> str:
    """Say that MLflow has been told everything; RnnpipeError where something waits."""
    if outcomes := waiting(workspace):
        raise RnnpipeError(f"MLflow doesn't hold {len(outcomes)} pipeline runs completely", "rnnpipe sync")
    return "MLflow has been told everything"


def check_device(workspace: Path) -> str:
    """Say what a training would run on; DeviceError where that can't be used."""
    from rnnpipe.runtime import describe_device, resolve_device

    locks_folder()
    device = resolve_device("auto")
    beside = f"{cpu_cores()} trainings of a run" if device.kind == "cpu" else "one training"
    return f"{describe_device(device.torch)}, {device.reason}, {beside} at a time"


def check_passwords(workspace: Path) -> str:
    """Say that no password is one that everybody knows, in the environment or the stack; RnnpipeError if so."""
    known = [
        name for name in sorted(os.environ) if name.startswith(PREFIXES) and _is_default(name, os.environ[name])
    ]
    if known:
        raise RnnpipeError(
            f"a default password stands in {', '.join(known)}",
            "change it on the server and here; `openssl rand -hex 24` makes one",
        )
    folder = places_of_environment(workspace).secrets
    secrets = [name for name in SECRETS if (folder / name).exists()]
    for name in secrets:
        read_secret(folder, name)
    return f"no default password in the environment{' or the secrets of the stack' if secrets else ''}"


def _is_default(name: str, value: str) -> bool:
    user = ""
    if not value:
        return False
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:
            return False
        user, password = parts.username or "", parts.password
    elif name.endswith("AUTH_STRING"):
        user, _, password = value.partition(":")
    else:
        password = value if name.endswith(("PASSWORD", "SECRET_KEY", "SECRET_ACCESS_KEY")) else None
    return password is not None and is_known(unquote(password), unquote(user))


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _file_system_of(path: Path) -> str:
    mounts = [each for each in psutil.disk_partitions(all=True) if path.is_relative_to(each.mountpoint)]
    return max(mounts, key=lambda each: len(each.mountpoint)).fstype if mounts else ""


def _named(folders: list[Path] | tuple[Path, ...]) -> str:
    return ", ".join(f"{folder.parent.name}/{folder.name[:12]}" for folder in folders)


CHECKS: dict[str, Callable[[Path], str]] = {
    "workspace": check_workspace,
    "disk": check_space,
    "store": check_store,
    "temporaries": check_temporaries,
    "spool": check_spool,
    "MLflow": check_mlflow,
    "Prefect": check_prefect,
    "device": check_device,
    "passwords": check_passwords,
}
