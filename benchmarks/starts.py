"""What a run starts, each alone: imports of its processes, Prefect's server, the first migration of its tables.

A run starts them beside each other. `python -m benchmarks.starts WHAT FOLDER` starts one, and prints when it was
there.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name

from benchmarks.rounds import Contender
from benchmarks.runs import alone_in
from benchmarks.suite import ROOT
from rnnpipe.processes.importing import importing

SERVER, MIGRATION = "Prefect's server, its tables kept", "Prefect's server with its first migration"
COMMAND, FORK_SERVER, EXPORT = "imports of the command", "imports of the fork server", "imports for the export"
NAMES = (COMMAND, FORK_SERVER, SERVER, MIGRATION, EXPORT)
LISTS = {FORK_SERVER: "rnnpipe.training.supervise:PRELOADED", EXPORT: "rnnpipe.tracking.export:FOR_THE_EXPORT"}


def contenders(folder: Path) -> dict[str, Contender]:
    """Return what starts each of them in a fresh process, and returns the seconds until it is there."""
    kept = folder / "cache"
    _started(SERVER, folder, kept)  # keeps the tables
    return {
        **{name: partial(_started, name, folder, kept) for name in NAMES if name != MIGRATION},
        MIGRATION: lambda: _started(MIGRATION, folder, Path(tempfile.mkdtemp(dir=folder))),
    }


def _started(name: str, folder: Path, cache: Path) -> float:
    home = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "benchmarks.starts", name, str(home)]
    environment, began_s = alone_in(home) | {"RNNPIPE_CACHE": str(cache)}, time.time()
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return float(done.stdout) - began_s


def _start(name: str, home: Path) -> None:
    if name not in (SERVER, MIGRATION):
        _import(name)
        print(time.time())
        return
    from flows.environment import set_defaults
    from flows.server import prefect_server

    set_defaults(home)
    with prefect_server(home):
        print(time.time())


def _import(name: str) -> None:
    with importing():
        for module in resolve_name(LISTS[name]) if name in LISTS else ("flows.pipeline", "scipy.stats"):
            import_module(module)


if __name__ == "__main__":
    _start(sys.argv[1], Path(sys.argv[2]))
