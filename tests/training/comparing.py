"""What trainings are compared by: everything but the times. And data without validation images."""

from dataclasses import replace
from typing import Any

from rnnpipe.training.journal import Event
from rnnpipe.training.setting import TrainingData

TIMES = ("wall_s", "samples_per_s", "time_ms")


def timeless(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in TIMES}


def losses_by_step(events: list[Event]) -> list[tuple[int, str]]:
    """Every update's number and loss, in the journal's order."""
    # how many a line holds is a matter of time
    reports = [event for event in events if event["event"] == "steps"]
    return [(event["first_step"] + place, loss) for event in reports for place, loss in enumerate(event["losses"])]


def story(events: list[Event]) -> list[dict[str, Any]]:
    """The events without times and without the single updates."""
    return [timeless(event) for event in events if event["event"] != "steps"]


def unvalidated(data: TrainingData) -> TrainingData:
    return replace(data, validation_x_NTI=None, validation_y_N=None)
