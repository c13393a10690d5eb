"""The user's side of the fork server: runs a job in a process of its own and supervises it."""

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
from rnnpipe.processes.forkserver import ERROR_FILE, FAILED, OUTPUT_FILE

POLL_S = 0.2
GRACE_S = 5.0


class Launcher:
    """Starts jobs as children of one fork server; safe to use from many threads."""

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self._command = [sys.executable, "-m", "rnnpipe.processes.forkserver", *preload]
        self._server: subprocess.Popen[str] | None = None
        self._exits: dict[str, int] = {}
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self) -> None:
        """Start the fork server now, so that its imports run beside other work."""
        with self._changed:
            if self._server is not None:
                return
            self._server = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                # numpy's thread pool would make forking unsafe, and each job sets its own threads
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, start_new_session=True,
            )  # fmt: skip
            threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        """End the fork server and with it every job."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait()

    def run(
        self,
        target: str,
        folder: Path,
        *,
        timeout_s: float | None = None,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        """Run `target(folder)` in a process of its own and wait for its end.

        `while_waiting` is called several times a second, and once after the end. Raises what the job raised if
        that is an error of rnnpipe, TrainingError for a crash, a kill or a time-out.
        """
        (folder / ERROR_FILE).unlink(missing_ok=True)
        self.warm_up()
        job, started = uuid4().hex, time.monotonic()
        self._send({"job": job, "target": target, "folder": str(folder)})
        timed_out = False
        while not self._wait(job):
            while_waiting()
            elapsed_s = time.monotonic() - started
            if timeout_s and elapsed_s > timeout_s + GRACE_S * timed_out:
                self._send({"job": job, "signal": signal.SIGKILL if timed_out else signal.SIGTERM})
                timed_out = True
        while_waiting()
        code = self._exits.pop(job)
        if timed_out:
            raise errors.TrainingError(
                f"stopped after {timeout_s:g} s, the time-out",
                "raise execution.timeout_s, or train fewer epochs",
            )
        if code:
            raise _error_of(folder, code)

    def _send(self, request: dict[str, object]) -> None:
        with self._changed:
            if self._server is None or self._server.stdin is None or self._server.poll() is not None:
                raise errors.TrainingError("the process that starts trainings is gone", "run the command again")
            self._server.stdin.write(f"{json.dumps(request)}\n")
            self._server.stdin.flush()

    def _wait(self, job: str) -> bool:
        with self._changed:
            if job not in self._exits and self._server is not None and self._server.poll() is not None:
                self._exits[job] = self._server.returncode or FAILED
            return job in self._exits or (self._changed.wait(POLL_S) and job in self._exits)

    def _listen(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        with server.stdout:
            for line in server.stdout:
                answer = json.loads(line)
                with self._changed:
                    self._exits[answer["job"]] = answer["exit"]
                    self._changed.notify_all()


def _error_of(folder: Path, code: int) -> errors.RnnpipeError:
    try:
        details = read_json(folder / ERROR_FILE)
    except (OSError, ValueError):
        killed = f"killed by {signal.Signals(code - 128).name}" if code > 128 else f"ended with code {code}"
        return errors.TrainingError(f"the process was {killed}", f"see {folder / OUTPUT_FILE}")
    kind = getattr(errors, details["type"], errors.RnnpipeError)
    error: errors.RnnpipeError = kind(details["message"], details["fix"] or f"see {folder / OUTPUT_FILE}")
    return error
