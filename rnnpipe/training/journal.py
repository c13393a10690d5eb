"""The journal: what happened in a training, one JSON line an event, written before anything else hears of it.

Losses of single steps are hexadecimal floats, so that they are exact. Trackers and progress displays read the
journal; training never waits for them.

    start     journal, time_ms, device, reason, threads, precision, parameters, epochs, updates_per_epoch
    steps     epoch, first_step, losses, samples_per_s, time_ms
    epoch     epoch, step, train_loss, validation_loss, validation_accuracy, learning_rate, wall_s, …, time_ms
    end       best_epoch, epochs, stopped_early, wall_s, time_ms
"""

import json
import os
import time
from pathlib import Path
from typing import Any

from rnnpipe.files import write_bytes

JOURNAL_FILE = "log/journal.jsonl"

Event = dict[str, Any]


def event_line(event: str, **values: Any) -> str:
    """Return the line of an event, with the time of now."""
    return json.dumps({"event": event, **values, "time_ms": time.time_ns() // 1_000_000}, allow_nan=False) + "\n"


class Journal:
    """An append-only journal; `position` is its length in bytes, which checkpoints remember."""

    def __init__(self, folder: Path, position: int = 0, last_line: str = "") -> None:
        """Open the journal of a run folder as a checkpoint left it: `position` bytes, ending with `last_line`.

        What a killed run wrote after it is dropped, and the last line is added if the kill came before it.
        """
        path = folder / JOURNAL_FILE
        kept = path.read_bytes()[:position] if position else b""
        if len(kept) < position:
            kept = kept[: position - len(last_line.encode())] + last_line.encode()
        write_bytes(path, kept)
        self._file = path.open("ab", buffering=0)
        self.position = len(kept)

    def append(self, line: str) -> None:
        """Append a line made by `event_line`."""
        self.position += self._file.write(line.encode())

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Make the journal durable and close it."""
        self.sync()
        self._file.close()


class JournalReader:
    """Reads a journal that may still be growing; each call of `new_events` returns what came since the last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        self._position = 0

    def new_events(self) -> list[Event]:
        """Return the whole lines that were appended since the last call; start over if the file shrank."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._position:
                    self._position = 0
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def read_journal(folder: Path) -> list[Event]:
    """Return every event of a run folder's journal; a torn last line is left out."""
    return JournalReader(folder).new_events()


def epochs_of(events: list[Event]) -> list[Event]:
    """Return the epoch events, in order."""
    return [event for event in events if event["event"] == "epoch"]
