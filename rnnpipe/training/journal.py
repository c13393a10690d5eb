"""The journal: what happened in a training, one JSON line an event, written before anything else hears of it.

Losses of single steps are hexadecimal floats, so that they are exact. Trackers and progress displays read the
journal; training never waits for them.

    start       variant, seed, parameters, device, threads, precision, torch, epochs, updates_per_epoch, images,
                belief (of the untrained net), …
    steps       epoch, first_step, losses (hexadecimal), samples_per_s
    checkpoint  epoch (under way), step
    epoch       epoch, step, train_loss, learning_rate, validation_loss, validation_accuracy, wall_s,
                samples_per_s, belief (per mille by watched image, reading and class; null without images)
    resumed     epoch (finished), step, note: what is wrong with newer checkpoints, if anything
    end         what start says of the training, best_epoch, epochs, stopped_early, wall_s, samples_per_s, …

Each has time_ms, in ms since 1970; wall_s are seconds, losses nats, those of training with the labels smoothed as
the config says. A first_step counts from 0, a step is the number of updates made. What stands before a checkpoint,
epoch or end line is final: no resume makes or tells it again. Who acts on the world, such as MLflow's tracker,
takes no more than that.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rnnpipe import faults
from rnnpipe.files import write_bytes

JOURNAL_FILE = "log/journal.jsonl"
CHECKPOINT_FOLDER = "log/checkpoints"
FINAL_EVENTS = ("checkpoint", "epoch", "end")

Event = dict[str, Any]


def event_line(event: str, **values: Any) -> str:
    """Return the line of an event, with the time of now."""
    return json.dumps({"event": event, **values, "time_ms": time.time_ns() // 1_000_000}, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Mark:
    """A place in a journal: how many bytes stand before it, and their SHA-256 (hex)."""

    length: int = 0
    sha256: str = hashlib.sha256().hexdigest()


class Journal:
    """An append-only journal."""

    def __init__(self, folder: Path, mark: Mark = Mark(), next_line: str = "") -> None:
        """Open the journal of a run folder as it stood at `mark`, followed by `next_line`.

        What a killed run wrote after the mark is dropped. The file is replaced, so that a reader sees the restart.
        """
        assert holds(folder, mark), "a checkpoint is only used with its journal"
        content = _beginning(folder, mark.length) + next_line.encode()
        write_bytes(folder / JOURNAL_FILE, content)
        self._file = (folder / JOURNAL_FILE).open("ab")
        self._length, self._hash = len(content), hashlib.sha256(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, line: str) -> None:
        """Append a line made by `event_line`."""
        content = line.encode()
        with faults.around("append", JOURNAL_FILE):
            self._file.write(content)
            self._file.flush()
        self._length += len(content)
        self._hash.update(content)

    def sync(self) -> Mark:
        """Wait until everything is on the disk; return where the journal ends."""
        with faults.around("sync", JOURNAL_FILE):
            os.fsync(self._file.fileno())
        return Mark(self._length, self._hash.hexdigest())

    def close(self) -> None:
        """Make the journal durable and close it."""
        self.sync()
        self._file.close()


def holds(folder: Path, mark: Mark) -> bool:
    """Say whether a run folder's journal begins with the very bytes that stood before `mark`."""
    return hashlib.sha256(_beginning(folder, mark.length)).hexdigest() == mark.sha256


def _beginning(folder: Path, length: int) -> bytes:
    if not length:
        return b""
    try:
        with (folder / JOURNAL_FILE).open("rb") as file:
            return file.read(length)
    except FileNotFoundError:
        return b""


class JournalReader:
    """Reads a journal that may still be growing; each call of `new_events` returns what came since the last."""

    def __init__(self, folder: Path, *, from_next_start: bool = False) -> None:
        """Read the journal of a run folder; from its next start, if what stands there now is another process'."""
        self._path = folder / JOURNAL_FILE
        self._ignored = self._path.stat().st_ino if from_next_start and self._path.exists() else None
        self._inode = self._position = 0

    def new_events(self) -> list[Event]:
        """Return the whole lines that came since the last call; all of them if the file was replaced or shrank."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino == self._ignored:
                    return []
                if status.st_ino != self._inode or status.st_size < self._position:
                    self._inode, self._position = status.st_ino, 0
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def newest_checkpoint(folder: Path) -> str:
    """Return the name of a training's newest checkpoint, without looking into it; "" where there is none."""
    return max((path.stem for path in (folder / CHECKPOINT_FOLDER).glob("step-*.json")), default="")


def read_journal(folder: Path) -> list[Event]:
    """Return every event of a run folder's journal; a torn last line is left out."""
    return JournalReader(folder).new_events()


def start_of(folder: Path) -> Event:
    """Return the event with which the journal of a run folder begins, empty where there is none or it is damaged.

    No checkpoint that leans on a damaged journal is used.
    """
    try:
        start = read_journal(folder)[0]
    except (IndexError, KeyError, TypeError, ValueError):
        return {}
    return start if isinstance(start, dict) else {}


def epochs_of(events: list[Event]) -> list[Event]:
    """Return the epoch events, in order."""
    return [event for event in events if event["event"] == "epoch"]


def final_events(events: list[Event]) -> list[Event]:
    """Return the events up to the newest that says that everything before it is final."""
    ends = [place for place, event in enumerate(events, start=1) if event["event"] in FINAL_EVENTS]
    return events[: ends[-1]] if ends else []


def step_losses(events: list[Event]) -> list[tuple[int, float]]:
    """Return each update's number, from 0, and its loss, in order."""
    return [
        (event["first_step"] + place, float.fromhex(loss))
        for event in events
        if event["event"] == "steps"
        for place, loss in enumerate(event["losses"])
    ]
