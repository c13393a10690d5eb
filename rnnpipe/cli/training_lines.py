"""The live table of a run's trainings: what is known of each, and which columns have room."""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from rnnpipe.sparks import spark

Event = dict[str, Any]
SKIPPED_STYLE, FAILED_STYLE = "dim", "red"
WAITS, WAITS_FOR_OTHERS = "waits", "waits for another run"
COLUMNS = {"state": 7, "epoch": 8, "loss": 6, "trend": 6, "val. %": 6, "images/s": 8, "left": 6}  # widths
TREND, WIDEST_TREND = "trend", 16
LESS = ("state", "images/s", "val. %", "trend")  # what is left out, in this order, where there is no room
GAP = 2
MAX_LOSSES = 512
TINIEST_LOSS = 1e-9  # its logarithm is drawn


@dataclass
class Line:
    """What is known of one training."""

    state: str = WAITS
    epochs: int = 0
    updates_per_epoch: int = 1
    first_step: int = 0  # this process' first update: those before it took it no time
    step: int = 0
    losses: list[float] = field(default_factory=list)
    loss: float | None = None
    accuracy: float | None = None
    samples_per_s: float | None = None
    started: float = field(default_factory=time.monotonic)

    def take(self, event: Event) -> None:
        """Bring the line up to date with an event of the journal."""
        kind = event["event"]
        if kind == "start":
            self.state, self.started = "trains", time.monotonic()
            self.epochs, self.updates_per_epoch = event["epochs"], event["updates_per_epoch"]
        elif kind == "steps":
            losses = [float.fromhex(loss) for loss in event["losses"]]
            self.step = event["first_step"] + len(losses)
            self.loss, self.samples_per_s = losses[-1], event["samples_per_s"]
            self._remember(math.fsum(losses) / len(losses))
        elif kind == "epoch":
            self.loss, self.accuracy = event["train_loss"], event["validation_accuracy"]
            self.samples_per_s = event["samples_per_s"]
        elif kind == "resumed":
            self.first_step = self.step = event["step"]
        elif kind == "end":
            self.state = "stopped early" if event["stopped_early"] else "trained"

    def _remember(self, loss: float) -> None:
        """Keep a loss for the trend; of a long training, means of more and more of them."""
        self.losses.append(loss)
        if len(self.losses) > MAX_LOSSES:
            self.losses = [(a + b) / 2 for a, b in zip(self.losses[::2], self.losses[1::2], strict=False)]

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None where nothing is under way."""
        made = self.step - self.first_step
        if self.state != "trains" or made <= 0:
            return None
        left = self.epochs * self.updates_per_epoch - self.step
        return (time.monotonic() - self.started) / made * max(left, 0)

    def cells(self) -> dict[str, str]:
        """Return state, epoch, loss, validation accuracy, images/s, time left as text."""
        left_s = self.left_s
        return {
            "state": self.state,
            "epoch": f"{min(self.step / self.updates_per_epoch, self.epochs):.1f} / {self.epochs}"
            if self.epochs
            else "",
            "loss": "" if self.loss is None else f"{self.loss:.4f}",
            "val. %": "" if self.accuracy is None else f"{100 * self.accuracy:.2f}",
            "images/s": "" if self.samples_per_s is None else f"{self.samples_per_s:,.0f}",
            "left": "" if left_s is None else duration(left_s),
        }

    def trend(self, width: int) -> str:
        """Return the loss so far as bars, by its logarithm: else only its first fall could be seen."""
        return spark([math.log(max(loss, TINIEST_LOSS)) for loss in self.losses], width)


def duration(seconds: float) -> str:
    """Return a duration in at most six characters."""
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "min"), (360_000, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def training_table(lines: Mapping[str, Line], width: int, *, ascii_only: bool = False) -> Table:
    """Return the table of some trainings with the columns that `width` has room for; the trend takes the rest."""
    longest = max((len(label) for label in lines), default=0)
    columns, left_out = dict(COLUMNS), [TREND] if ascii_only else []
    states = [len(line.state) for line in lines.values()]
    columns["state"] = max(columns["state"], *states) if states else columns["state"]
    for heading in ("", *LESS):
        left_out.append(heading)
        shown = {name: size for name, size in columns.items() if name not in left_out}
        room = width - longest - sum(shown.values()) - GAP * len(shown)
        if room >= 0:
            break
    if TREND in shown:
        shown[TREND] += max(0, min(room, WIDEST_TREND - shown[TREND]))
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("variant", no_wrap=True, overflow="ellipsis")
    for name, size in shown.items():
        table.add_column("loss so far" if name == TREND and size > len("loss so far") else name, min_width=size,
                         no_wrap=True)  # fmt: skip
    for label, line in lines.items():
        table.add_row(Text(label), *_row(line, shown), style=style_of(line.state))
    return table


def _row(line: Line, shown: Mapping[str, int]) -> list[str]:
    cells = line.cells()
    if "state" not in shown and line.state != "trains":  # it stands where the epochs would
        cells["epoch"] = line.state.partition(" ")[0]
    return [line.trend(size) if name == TREND else cells[name] for name, size in shown.items()]


def remaining(lines: Collection[Line]) -> str:
    """Return in words how many trainings are done, and how long the others take if they go as those at work do."""
    at_work = [line for line in lines if line.left_s is not None]
    waiting = [line for line in lines if line.state.startswith(WAITS)]
    if not at_work or len(lines) < 2:
        return ""
    now = time.monotonic()
    left_s = sum(line.left_s or 0.0 for line in at_work)
    whole_s = (left_s + sum(now - line.started for line in at_work)) / len(at_work)
    left_s = (left_s + len(waiting) * whole_s) / len(at_work)
    done = len(lines) - len(waiting) - sum(line.state == "trains" for line in lines)
    return f"{done} of {len(lines)} done, about {duration(left_s)} of training left"


def style_of(sentence: str) -> str:
    """Return the style of a stage's sentence, or of a training's state."""
    if sentence.startswith("skipped"):
        return SKIPPED_STYLE
    return FAILED_STYLE if sentence.startswith("failed") else ""
