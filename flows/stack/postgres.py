"""Postgres without containers: the system's binaries, a cluster in the workspace, never as root.

Run with -m in the environment of the service `postgres`.
"""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from flows.stack.places import places_of_environment
from rnnpipe.errors import RnnpipeError
from rnnpipe.processes.lifetime import die_with_parent
from rnnpipe.store import workspace_root

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"  # what root becomes, and the superuser's name inside
HALF = "half-made"


def program(name: str) -> str:
    """Return a program of Postgres: Debian's newest, else the one on the path; RnnpipeError where none is."""
    folders = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
    found = shutil.which(name, path=str(folders[-1])) if folders else shutil.which(name)
    if found is None:
        raise RnnpipeError(f"Postgres isn't installed: there is no {name}", "apt-get install postgresql")
    return found


def serve() -> NoReturn:
    """Become Postgres; its cluster is made first where there is none."""
    places, parent = places_of_environment(workspace_root()), os.getppid()
    folder = places.folder / "postgres" / "cluster"
    password = os.environ.pop("POSTGRES_PASSWORD")
    _enter(folder)
    die_with_parent(parent)  # forgotten at a change of user
    if not Path("data").exists():
        _make_cluster(password)
    settings = {
        "listen_addresses": places.listen,
        "port": places.port_of("postgres"),
        "unix_socket_directories": "",  # paths below a workspace may be too long for one
        "log_connections": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    os.execv(program("postgres"), ["postgres", "-D", "data", *options])  # noqa: S606 (no shell is wanted)


def _enter(folder: Path) -> None:
    """Make a folder and go there; where this process is root, as the user postgres, whom it then belongs to."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            raise RnnpipeError(f"Postgres refuses root, and there is no user {USER}", "run it as a user") from None
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.initgroups(USER, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    try:
        os.chdir(folder)
    except PermissionError:
        raise RnnpipeError(
            f"Postgres refuses root, and the user {USER} can't enter {folder}",
            "run it as a user, or set RNNPIPE_HOME to a folder that others may enter",
        ) from None


def _make_cluster(password: str) -> None:
    """Make the cluster under another name first: a kill leaves nothing that looks finished."""
    shutil.rmtree(HALF, ignore_errors=True)
    command = [
        program("initdb"), "--pgdata", HALF, "--username", USER, "--pwfile", "/dev/stdin",
        "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions",
    ]  # fmt: skip
    subprocess.run(command, input=password, text=True, check=True)
    Path(HALF).rename("data")


if __name__ == "__main__":
    try:
        serve()
    except RnnpipeError as error:
        sys.exit(f"error: {error}")
