"""One training by several processes: they are started together, and together again where one of them dies.

Not by torchrun: the server on which its processes meet listens to the whole network. See `meeting` for ours.
"""

import os
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch.multiprocessing.spawn import ProcessException, start_processes

from rnnpipe.errors import RnnpipeError, TrainingError, explained, remade
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.lifetime import die_with_parent
from rnnpipe.runtime import Device, resolve_device, set_threads
from rnnpipe.training.job import assignment_of
from rnnpipe.training.journal import newest_checkpoint
from rnnpipe.training.loop import Fit
from rnnpipe.training.meeting import POLL_S, Meeting, open_meeting
from rnnpipe.training.team import Member, ProcessTeam, team_devices
from rnnpipe.training.threads import Threads, threads_at_start
from rnnpipe.training.work import Assignment, train_here

RESTARTS = 3  # in a row, without a new checkpoint between them
RESULT_FILE, ERROR_FILE = "log/team-result.json", "log/team-error.json"
STARTS = {"cuda": "spawn", "xpu": "spawn"}  # a forked process can't use a GPU that its parent has looked at


class Processes:
    """The processes of one node that train, attempt after attempt."""

    def __init__(self, assignment: Assignment, device: Device) -> None:
        self._assignment, self._method = assignment, STARTS.get(device.kind, "fork")
        self._leader: BaseProcess | None = None
        self.is_stopping = False

    def stop(self) -> None:
        """Ask the leading one to leave a checkpoint and end; TrainingError where none is there."""
        self.is_stopping = True
        if self._leader is None or not self._leader.is_alive():
            raise _stopped()
        self._leader.terminate()

    def run(self, meeting: Meeting) -> str:
        """Start them and wait: "done"; "died", if one did; "over", if another node asked for another attempt."""
        arguments = (str(self._assignment.folder), meeting.next(), os.getpid())
        started = start_processes(  # type: ignore[no-untyped-call]
            _member, arguments, self._assignment.processes, join=False, start_method=self._method
        )
        self._leader = started.processes[0]
        try:
            while not started.join(timeout=POLL_S):
                if meeting.is_over():  # they wait for such as will never come
                    for process in started.processes:
                        process.kill()
                        process.join()
                    return "over"
        except ProcessException as error:
            print(error, flush=True)
            return "died"
        return "done"


def lead_team(assignment: Assignment, device: Device) -> dict[str, Any]:
    """Let this node's processes train, and return the facts that the leading one found; of other nodes, none.

    Where one dies, all are started again and go on from the last checkpoint; not for a fourth time in a row
    without a new one. SIGTERM reaches the leading one. Raises TrainingError, and what it raised.
    """
    folder, died, processes = assignment.folder, 0, Processes(assignment, device)
    before = signal.signal(signal.SIGTERM, lambda number, frame: processes.stop())
    try:
        meeting = open_meeting(folder, assignment.part)
        while died <= RESTARTS:
            for name in (RESULT_FILE, ERROR_FILE):
                (folder / name).unlink(missing_ok=True)
            newest, ended = newest_checkpoint(folder), processes.run(meeting)
            if ended == "done":
                return {} if assignment.part.node else _taken(folder / RESULT_FILE)
            if (folder / ERROR_FILE).exists():  # it said why, and would say so again
                found = _taken(folder / ERROR_FILE)
                raise remade(found["type"], found["message"], found["fix"], TrainingError)
            if processes.is_stopping:
                raise _stopped()
            died = 0 if newest_checkpoint(folder) > newest else died
            died += ended == "died"
    finally:
        signal.signal(signal.SIGTERM, before)
        for path in folder.glob("log/team-*"):
            path.unlink()
    raise TrainingError(
        f"{assignment.config.execution.processes} processes were started {died} times without getting further, and"
        " each time one died",
        "see log/output.txt",
    )


def _stopped() -> TrainingError:
    return TrainingError("stopped, as asked", "run the same command again: it goes on from the last checkpoint")


def _member(place: int, folder: str, meeting: str, parent: int) -> None:
    """Be one of the processes of a training: the leading one leaves its facts, each node's first why it ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent)
    assignment = assignment_of(Path(folder))
    execution, member = assignment.config.execution, Member(place, assignment.processes, assignment.part)
    device = team_devices(resolve_device(execution.device), assignment.processes)[place]
    threads = threads_at_start(assignment.config, device, assignment.folder)

    def settled(fitting: Fit) -> Threads:
        set_threads(threads.count)
        return threads

    try:
        team = ProcessTeam(device.torch, member, meeting)
        facts = train_here(assignment, device, team, settled)
        if team.leads:
            write_json(assignment.folder / RESULT_FILE, facts)
    except Exception as raised:
        error = explained(raised)
        if place == 0 and isinstance(error, RnnpipeError):
            write_json(assignment.folder / ERROR_FILE, error.record)
        raise


def _taken(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path)
    path.unlink()
    return found
