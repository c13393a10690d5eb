"""A process that has imported what jobs need, touched no device, and forks a job in milliseconds.

Run with -m and the modules to import: the first before any job, the others while no job is asked for.
It reads one JSON request a line from its standard input and answers on its standard output; when
the input ends (its user is done, or dead) it stops every job and goes. Single-threaded: forking is safe.

    {"job": "a1", "target": "module:function", "folder": "/..."}  →  {"job": "a1", "exit": 0}
    {"job": "a1", "signal": 15}
"""

import contextlib
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from rnnpipe.catalogue import load_target
from rnnpipe.errors import RnnpipeError, explained
from rnnpipe.files import sweep_temporaries, write_json
from rnnpipe.processes.importing import importing
from rnnpipe.processes.lifetime import die_with_parent, stop_processes

ERROR_FILE = "log/error.json"
OUTPUT_FILE = "log/output.txt"
GRACE_S = 5.0  # what a job gets to end by itself, with its work kept
FAILED = 70  # the exit code of a job that raised; -n is a job killed by signal n
UNWRITABLE = 71  # that of a job whose error couldn't even be written


def run_job(target: str, folder: Path, job: str) -> int:
    """Run target(folder) in a forked child, its output to a file; its error is left in log/error.json."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    output = os.open(folder / OUTPUT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGTERM, _leave)  # until the job has its own way to end
    try:
        with FileLock(f"{folder}.process.lock"):  # a killed user's job may still be on its last breath here
            sweep_temporaries(folder)  # what a kill left would count as content of the stage
            load_target(target)(folder)
        return 0
    except _Asked:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # whoever waits for it is to see how it ended
        return FAILED
    except Exception as raised:
        error = explained(raised)
        if isinstance(error, RnnpipeError):
            details = error.record
        else:
            traceback.print_exc()
            details = {"type": "", "message": f"{type(error).__name__}: {error}", "fix": ""}
    try:
        write_json(folder / ERROR_FILE, {**details, "job": job})
    except OSError:
        return UNWRITABLE
    return FAILED


class _Asked(BaseException):
    """The job was asked to end: it leaves through all its blocks, so that nothing half-written stays."""


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    raise _Asked


class ForkServer:
    """The jobs of one user: forks them, waits for them, reports their ends."""

    def __init__(self) -> None:
        self.jobs: dict[int, str] = {}

    def handle(self, request: dict[str, Any]) -> None:
        """Start a job or send one a signal."""
        if "signal" in request:
            for pid, job in self.jobs.items():
                if job == request["job"]:
                    os.kill(pid, request["signal"])
            return
        parent = os.getpid()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(parent)
            code = FAILED
            try:
                code = run_job(request["target"], Path(request["folder"]), request["job"])
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:  # not even its output can be opened
                code = UNWRITABLE
            finally:
                os._exit(code)
        self.jobs[pid] = request["job"]

    def reap(self) -> None:
        """Report the jobs that have ended."""
        for pid in list(self.jobs):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                answer = {"job": self.jobs.pop(pid), "exit": code}
                sys.stdout.write(f"{json.dumps(answer)}\n")
                sys.stdout.flush()

    def stop(self) -> None:
        """Stop every job that is still there, all at once."""
        stop_processes([psutil.Process(pid) for pid in self.jobs], GRACE_S)


def serve(later: Iterable[str] = ()) -> None:
    """Serve requests until the input ends; import the modules `later` whenever there is nothing to do."""
    modules = iter(later)
    server, selector = ForkServer(), selectors.DefaultSelector()
    waker, alarm = os.pipe()
    for descriptor in (waker, alarm):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    selector.register(0, selectors.EVENT_READ)
    selector.register(waker, selectors.EVENT_READ)
    pending, module = b"", next(modules, None)
    while True:
        ready = selector.select(None if module is None else 0)
        if not ready and module is not None:
            with contextlib.suppress(Exception), importing():  # the job that needs it tells
                importlib.import_module(module)
            module = next(modules, None)
        for key, _ in ready:
            content = os.read(key.fd, 65536)
            if key.fd == waker:
                server.reap()
                continue
            if not content:
                server.stop()
                return
            *lines, pending = (pending + content).split(b"\n")
            for line in lines:
                server.handle(json.loads(line))


if __name__ == "__main__":
    with importing():
        for first in sys.argv[1:2]:
            importlib.import_module(first)
    serve(sys.argv[2:])
    os._exit(0)  # at once: taking apart what was imported would cost seconds
