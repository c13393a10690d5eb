"""What trainings are compared by: everything but the times. And data without validation images."""

from dataclasses import replace
from typing import Any

from rnnpipe.training.journal import Event
from rnnpipe.training.setting import TrainingData

TIMES = ("wall_s", "samples_per_s", "time_ms")


def timeless(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in TIMES}


def story(events: list[Event]) -> list[dict[str, Any]]:
    """The events without times, and without those whose number is a matter of time and of kills."""
    return [timeless(event) for event in events if event["event"] not in ("steps", "checkpoint", "resumed")]


def unvalidated(data: TrainingData) -> TrainingData:
    return replace(data, validation_x_NTI=None, validation_y_N=None)
