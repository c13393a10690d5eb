"""One training by several processes: they are started together, and together again where one of them dies.

Not by torchrun: the server on which its processes meet listens to the whole network; these meet through a file.
"""

import os
import signal
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessException, start_processes

from rnnpipe.errors import RnnpipeError, TrainingError, explained, remade
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.lifetime import die_with_parent
from rnnpipe.runtime import Device, resolve_device, set_threads
from rnnpipe.training.job import assignment_of
from rnnpipe.training.loop import Fit
from rnnpipe.training.team import ProcessTeam, team_devices
from rnnpipe.training.threads import Threads, threads_at_start
from rnnpipe.training.work import train_here

RESTARTS = 3
RESULT_FILE, ERROR_FILE = "log/team-result.json", "log/team-error.json"
MEETING_FILE = "log/team"
STARTS = {"cuda": "spawn", "xpu": "spawn"}  # a forked process can't use a GPU that its parent has looked at


def lead_team(folder: Path, device: Device, processes: int) -> dict[str, Any]:
    """Let processes train as the job in a folder says, and return the facts that the leading one found.

    Where one dies, all are started again, up to three times, and go on from the last checkpoint. SIGTERM reaches
    the leading one. Raises TrainingError, and what it raised.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        for attempt in range(RESTARTS + 1):
            for name in (RESULT_FILE, ERROR_FILE, f"{MEETING_FILE}-{attempt}"):
                (folder / name).unlink(missing_ok=True)
            if _together(folder, device, processes, attempt):
                return _taken(folder / RESULT_FILE)
            if (folder / ERROR_FILE).exists():  # it said why, and would say so again
                found = _taken(folder / ERROR_FILE)
                raise remade(found["type"], found["message"], found["fix"], TrainingError)
    finally:
        signal.signal(signal.SIGTERM, before)
        for path in folder.glob(f"{MEETING_FILE}-*"):
            path.unlink()
    raise TrainingError(
        f"{processes} processes were started {RESTARTS + 1} times, and each time one died", "see log/output.txt"
    )


def _together(folder: Path, device: Device, processes: int, attempt: int) -> bool:
    """Start the processes and wait for them; say whether all came to their end."""
    arguments = (str(folder), processes, attempt, os.getpid())
    method = STARTS.get(device.kind, "fork")
    started = start_processes(_member, arguments, processes, join=False, start_method=method)  # type: ignore[no-untyped-call]
    leader = started.processes[0]
    signal.signal(signal.SIGTERM, lambda number, frame: leader.terminate())
    try:
        while not started.join():
            pass
    except ProcessException as error:
        print(error, flush=True)
        return False
    return True


def _member(rank: int, folder: str, processes: int, attempt: int, parent: int) -> None:
    """Be one of the processes of a training; the leading one leaves its facts, or why it ended."""
    die_with_parent(parent)
    place = Path(folder)
    assignment = assignment_of(place)
    device = team_devices(resolve_device(assignment.config.execution.device), processes)[rank]
    threads = threads_at_start(assignment.config, device, place)

    def settled(fitting: Fit) -> Threads:
        set_threads(threads.count)
        return threads

    try:
        team = ProcessTeam(device.torch, rank, processes, place / f"{MEETING_FILE}-{attempt}")
        facts = train_here(assignment, device, team, settled)
        if team.leads:
            write_json(place / RESULT_FILE, facts)
    except Exception as raised:
        error = explained(raised)
        if rank == 0 and isinstance(error, RnnpipeError):
            write_json(place / ERROR_FILE, error.record)
        raise


def _taken(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path)
    path.unlink()
    return found
