"""Progress in the terminal: a live line a variant, or plain lines where nobody watches."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnnpipe.config import PipelineConfig

Event = dict[str, Any]
SKIPPED_STYLE, FAILED_STYLE = "dim", "red"
WAITS, WAITS_FOR_OTHERS = "waits", "waits for another run"
ROOM_FOR_OTHERS = 4  # lines: the table's head, the sum of what isn't shown, and the cursor's
LONGEST_STAGE = len("dataset fashion-mnist")


@dataclass
class Line:
    """What is known of one training."""

    state: str = WAITS
    epochs: int = 0
    updates_per_epoch: int = 1
    first_step: int = 0  # this process' first update: those before it took it no time
    step: int = 0
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
            self.step = event["first_step"] + len(event["losses"])
            self.loss, self.samples_per_s = float.fromhex(event["losses"][-1]), event["samples_per_s"]
        elif kind == "epoch":
            self.loss, self.accuracy = event["train_loss"], event["validation_accuracy"]
            self.samples_per_s = event["samples_per_s"]
        elif kind == "resumed":
            self.first_step = self.step = event["step"]
        elif kind == "end":
            self.state = "stopped early" if event["stopped_early"] else "trained"

    def cells(self) -> tuple[str, ...]:
        """Return state, epoch, loss, validation accuracy, images/s, time left as text."""
        total, made = self.epochs * self.updates_per_epoch, self.step - self.first_step
        left_s = (time.monotonic() - self.started) / made * (total - self.step) if made else 0.0
        return (
            self.state,
            f"{min(self.step / self.updates_per_epoch, self.epochs):.1f} / {self.epochs}" if self.epochs else "",
            "" if self.loss is None else f"{self.loss:.4f}",
            "" if self.accuracy is None else f"{self.accuracy:.4f}",
            "" if self.samples_per_s is None else f"{self.samples_per_s:,.0f}",
            f"{left_s:.0f} s" if self.state == "trains" and made else "",
        )


class LiveProgress:
    """A line a training, redrawn several times a second; the stages' sentences scroll by above it."""

    def __init__(self, labels: list[str], console: Console) -> None:
        self._console = console
        self._lines = {label: Line() for label in labels}
        self._width = max([LONGEST_STAGE, *(len(f"test {label}") for label in labels)])
        self._lock = threading.Lock()

    def stage(self, name: str, sentence: str) -> None:
        """Print a stage's sentence; that a training is skipped or failed stands in its line too."""
        with self._lock:
            if name in self._lines and sentence.startswith(("skipped", "failed")):
                self._lines[name].state = sentence.partition(":")[0]
        self._print(name, sentence)

    def _print(self, name: str, sentence: str) -> None:
        told = Table.grid(padding=(0, 2))
        told.add_column(min_width=self._width, no_wrap=True)
        told.add_column(overflow="fold")
        told.add_row(Text(name), Text(sentence), style=_style(sentence))
        self._console.print(told)

    def training(self, label: str, event: Event) -> None:
        """Bring a training's line up to date; that it goes on, and from where, is printed."""
        with self._lock:
            if event["event"] == "start":  # so this run has the device
                self._change(WAITS_FOR_OTHERS, WAITS)
            self._lines.setdefault(label, Line()).take(event)
        if event["event"] == "resumed":
            from flows.progress import resumed_line

            self._print(label, resumed_line(event))

    def waits(self, name: str, held: str) -> None:
        """Print for whom a stage waits; the lines of all trainings that wait say in short that they do."""
        with self._lock:
            self._change(WAITS, WAITS_FOR_OTHERS)
        self._print(name, f"waits for {held}")

    def _change(self, before: str, after: str) -> None:
        for line in self._lines.values():
            if line.state == before:
                line.state = after

    def __rich__(self) -> RenderableType:
        if not self._lines:
            return ""
        with self._lock:
            table = Table(
                "variant", "state", "epoch", "loss", "val. accuracy", "images/s", "time left",
                box=None, header_style="bold", pad_edge=False,
            )  # fmt: skip
            shown = self._shown()
            for label, line in shown.items():
                table.add_row(label, *line.cells(), style=_style(line.state))
            others = Counter(line.state for label, line in self._lines.items() if label not in shown)
        if others:
            table.add_row(
                Text(f"{others.total()} more"), ", ".join(f"{state}: {n}" for state, n in others.items())
            )
        return table

    def _shown(self) -> dict[str, Line]:
        """Return the lines that have room on the screen: where not all do, those at work and those that failed."""
        room = max(self._console.height - ROOM_FOR_OTHERS, 1)
        if len(self._lines) <= room:
            return self._lines
        told = [(label, line) for label, line in self._lines.items() if line.state in ("trains", "failed")]
        return dict(sorted(told, key=lambda each: each[1].state == "trains")[-room:])


class PlainProgress:
    """Plain lines: one a stage, one an epoch."""

    def stage(self, name: str, sentence: str) -> None:
        """Print a stage's sentence."""
        print(f"{name}  {sentence}", flush=True)

    def training(self, label: str, event: Event) -> None:
        """Print the end of each epoch, and where a training goes on."""
        from flows.progress import line_of

        if line := line_of(event):
            print(f"{label}  {line}", flush=True)

    def waits(self, name: str, held: str) -> None:
        """Print for whom a stage waits."""
        self.stage(name, f"waits for {held}")


def _style(sentence: str) -> str:
    if sentence.startswith("skipped"):
        return SKIPPED_STYLE
    return FAILED_STYLE if sentence.startswith("failed") else ""


@contextlib.contextmanager
def terminal_progress(config: PipelineConfig | None) -> Iterator[LiveProgress | PlainProgress]:
    """Yield the display that fits: live on a terminal, else plain lines."""
    console = Console()
    if not console.is_terminal:
        yield PlainProgress()
        return
    labels = [f"{v.label} s{seed}" for v in config.variants for seed in config.seeds] if config else []
    progress = LiveProgress(labels, console)
    with Live(progress, console=console, refresh_per_second=4):
        yield progress
