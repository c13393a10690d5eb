"""What the tests let run in processes of their own."""

import os
import signal
import sys
import time
from pathlib import Path

from rnnpipe.errors import DataError
from rnnpipe.files import write_json
from rnnpipe.processes.forkserver import ERROR_FILE
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.slots import Job, device_slot

IMPORTED_IN = os.getpid()


def write_pids(folder: Path) -> None:
    (folder / "pids").write_text(f"{os.getpid()} {os.getppid()} {IMPORTED_IN}")
    print("said by the job")


def fail_for_users(folder: Path) -> None:
    raise DataError("the images are gone", "bring them back")


def fail_unexpectedly(folder: Path) -> None:
    raise KeyError("nobody thought of this")


def be_killed(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(folder: Path) -> None:
    os._exit(200)


def sleep_long(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)


def sleep_stubbornly(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep_long(folder)


def keep_work_then_end(folder: Path) -> None:
    """Take half a second to end when asked to, as a training that writes a checkpoint."""

    def keep(number: int, frame: object) -> None:
        time.sleep(0.5)
        (folder / "kept").touch()
        sys.exit()

    signal.signal(signal.SIGTERM, keep)
    sleep_long(folder)


def stay_until_told(folder: Path) -> None:
    (folder / "begun").touch()
    while not (folder / "end").exists():
        time.sleep(0.02)


def be_killed_while_another_job_fails(folder: Path) -> None:
    """Leave the error of another job, as one does that outlives its killed user."""
    write_json(folder / ERROR_FILE, {"type": "DataError", "message": "old", "fix": "", "job": "another"})
    be_killed(folder)


def use_launcher(folder: Path) -> None:
    """The body of a user process that will be killed in the middle of a job."""
    with Launcher() as launcher:
        launcher.run("process_targets:sleep_long", folder)


def hold_slot(folder: Path) -> None:
    """The body of a process that takes a GPU and keeps it."""
    (folder / "log").mkdir(exist_ok=True)
    with device_slot("cuda:0", Job("nightly gru seed 0", "ab12", threads=1), folder):
        (folder / "held").touch()
        time.sleep(600)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))


def wait_for_the_gpu(folder: Path) -> None:
    """Hold a GPU for a moment, once it is free."""
    with device_slot("cuda:0", Job("a training", "cd34", threads=1), folder):
        time.sleep(0.2)
