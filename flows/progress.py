"""What a run tells while it goes on: stages with their reasons, and each training's journal."""

import logging
import math
from collections.abc import Sequence
from typing import Protocol

from rnnpipe.training.journal import Event

logger = logging.getLogger("rnnpipe.progress")


class Progress(Protocol):
    """Hears of stages and of trainings; called from many threads."""

    def stage(self, name: str, sentence: str) -> None:
        """Hear that a stage was skipped or ran, and why."""

    def training(self, label: str, event: Event) -> None:
        """Hear an event of a training's journal."""

    def waits(self, name: str, held: str) -> None:
        """Hear that a stage waits for a device, and who holds it; it stands in the log already."""


class LogProgress:
    """Tells it to the log, one line an epoch; what a worker's run shows in Prefect."""

    def stage(self, name: str, sentence: str) -> None:
        """Log the sentence."""
        logger.info("%s %s", name, sentence)

    def training(self, label: str, event: Event) -> None:
        """Log the end of each epoch, and where a training goes on."""
        if line := line_of(event):
            logger.info("%s: %s", label, line)

    def waits(self, name: str, held: str) -> None:
        """Do nothing: it stands in the log."""


def seconds_left(events: Sequence[Event], epochs: int) -> float:
    """Return how long a training of so many epochs still takes, by its newest epoch event; infinity without any.

    Of a training with one epoch that is never known before its end: 0.
    """
    ended = [event for event in events if event["event"] == "epoch"]
    if not ended:
        return 0.0 if epochs == 1 else math.inf
    return float((epochs - ended[-1]["epoch"]) * ended[-1]["wall_s"])


def line_of(event: Event) -> str:
    """Return in words what a reader of plain lines is told of an event; most are not told."""
    tellers = {"epoch": _epoch_line, "resumed": resumed_line}
    teller = tellers.get(event["event"])
    return teller(event) if teller else ""


def resumed_line(event: Event) -> str:
    """Return a resumed event in words."""
    note = f" ({event['note']})" if event["note"] else ""
    return f"goes on after step {event['step']:,}{note}" if event["step"] else f"starts over{note}"


def _epoch_line(event: Event) -> str:
    accuracy = event["validation_accuracy"]
    validation = f", validation accuracy {accuracy:.4f}" if accuracy is not None else ""
    return (
        f"epoch {event['epoch']}, loss {event['train_loss']:.4f}{validation},"
        f" {event['samples_per_s']:,.0f} images/s"
    )
