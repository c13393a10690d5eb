"""The user's side of the fork server: runs a job in a process of its own and supervises it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from rnnpipe import errors
from rnnpipe.files import read_json
from rnnpipe.processes.forkserver import ERROR_FILE, FAILED, GRACE_S, OUTPUT_FILE, UNWRITABLE
from rnnpipe.processes.slots import WAITING_FILE, cpu_cores, waits_for

POLL_S = 0.2


class Launcher:
    """Starts jobs as children of one fork server; safe to use from many threads."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._command = [sys.executable, "-P", "-m", "rnnpipe.processes.forkserver", *preload]
        self._server: subprocess.Popen[str] | None = None
        self._exits: dict[str, int] = {}
        self._closed = False
        self._changed = threading.Condition()
        # more could only wait for cores, at 13 MiB each; the one beyond has started when a core becomes free
        self._room = threading.Semaphore(cpu_cores() + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        """Say whether everything was stopped, or is about to be: a job that ends now didn't end by itself."""
        return self._closed

    def warm_up(self) -> None:
        """Start the fork server now, so that its imports run beside other work."""
        self._running_server()

    def _running_server(self) -> subprocess.Popen[str]:
        """Return the fork server, started if it isn't there; one that was killed is replaced."""
        with self._changed:
            if self._closed:
                raise errors.TrainingError("trainings are being stopped, none is started", "run the command again")
            if self._server is None or self._server.poll() is not None:
                self._hang_up()
                self._server = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                    # numpy's thread pool would make forking unsafe, and each job sets its own threads
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, start_new_session=True,
                )  # fmt: skip
                threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()
            return self._server

    def close(self) -> None:
        """End the fork server and with it every job; none can be started any more."""
        with self._changed:
            self._closed = True
            self._hang_up()
        if self._server is not None:
            self._server.wait()

    def _hang_up(self) -> None:
        """End the input of the fork server, which ends it."""
        if self._server is not None and self._server.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._server.stdin.close()

    def run(
        self,
        target: str,
        folder: Path,
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] = lambda: None,
        on_busy: Callable[[str], None] = lambda held: None,
    ) -> None:
        """Run `target(folder)` in a process of its own, once few enough others run, and wait for its end.

        `while_waiting` is called several times a second, and once after the end; `on_busy` when the job has to
        wait, with the device and who holds it in words, each time that changes. What these two raise ends the job.
        Raises what the job raised if that is an error of rnnpipe, TrainingError for a crash, a kill or a time-out.
        """
        for name in (ERROR_FILE, WAITING_FILE):
            (folder / name).unlink(missing_ok=True)
        with self._room:
            server, job = self._running_server(), uuid4().hex
            self._send(server, {"job": job, "target": target, "folder": str(folder.resolve())})
            try:
                timed_out = self._follow(
                    server, job, folder, timeout_s=timeout_s, while_waiting=while_waiting, on_busy=on_busy
                )
            except BaseException:  # nobody waits for the job any more, so it must not go on
                self._stop(server, job)
                raise
        with self._changed:
            code = self._exits.pop(job)
        if timed_out:
            raise errors.TrainingError(
                f"stopped after {timeout_s:g} s, the time-out",
                "raise execution.timeout_s, or train fewer epochs",
            )
        if code:
            raise _error_of(folder, job, code)

    def _follow(
        self,
        server: subprocess.Popen[str],
        job: str,
        folder: Path,
        *,
        timeout_s: float | None,
        while_waiting: Callable[[], None],
        on_busy: Callable[[str], None],
    ) -> bool:
        """Wait for a job's end; returns whether it had to be stopped. Waiting for a device doesn't count."""
        started, timed_out, told = time.monotonic(), False, ""
        while not self._wait(server, job):
            while_waiting()
            held = waits_for(folder)
            if held is not None:
                started = time.monotonic()
            if held and held != told:
                told = held
                on_busy(held)
            elapsed_s = time.monotonic() - started
            if timeout_s and elapsed_s > timeout_s + GRACE_S * timed_out:
                self._send(server, {"job": job, "signal": signal.SIGKILL if timed_out else signal.SIGTERM})
                timed_out = True
        while_waiting()
        return timed_out

    def _stop(self, server: subprocess.Popen[str], job: str) -> None:
        """Ask a job to end, and kill it if it is still there some seconds later."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._send(server, {"job": job, "signal": number})
            deadline = time.monotonic() + GRACE_S
            while not self._wait(server, job) and time.monotonic() < deadline:
                pass

    def _send(self, server: subprocess.Popen[str], request: dict[str, object]) -> None:
        """Send a request; one to a server that has just died goes nowhere, and `_wait` sees that it is dead."""
        assert server.stdin is not None
        with self._changed, contextlib.suppress(BrokenPipeError, ValueError):
            server.stdin.write(f"{json.dumps(request)}\n")
            server.stdin.flush()

    def _wait(self, server: subprocess.Popen[str], job: str) -> bool:
        with self._changed:
            if job not in self._exits and server.poll() is not None:
                self._exits[job] = server.returncode or FAILED
            return job in self._exits or (self._changed.wait(POLL_S) and job in self._exits)

    def _listen(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        with server.stdout:
            for line in server.stdout:
                answer = json.loads(line)
                with self._changed:
                    self._exits[answer["job"]] = answer["exit"]
                    self._changed.notify_all()


def _error_of(folder: Path, job: str, code: int) -> errors.RnnpipeError:
    output = folder / OUTPUT_FILE
    try:
        details = read_json(folder / ERROR_FILE)
    except (OSError, ValueError):
        details = {"job": ""}
    if code == UNWRITABLE:
        return errors.StorageError(f"nothing can be written in {folder}", "make room on its disk; run it again")
    if details["job"] != job:  # a killed user's job may have ended after this one had started
        killed = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        return errors.TrainingError(f"the process {killed}", f"see {output}")
    return errors.remade(details["type"], details["message"], details["fix"] or f"see {output}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals, which have no names
        return f"signal {number}"
