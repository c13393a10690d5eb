"""Progress in the terminal: a live line a variant, or plain lines where nobody watches."""

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnnpipe.cli.training_lines import (
    WAITS,
    WAITS_FOR_OTHERS,
    Event,
    Line,
    duration,
    remaining,
    style_of,
    training_table,
)
from rnnpipe.config import PipelineConfig

ROOM_FOR_OTHERS = 4  # lines: the table's head, the sum of what isn't shown, and the cursor's
LONGEST_STAGE = len("dataset fashion-mnist")
NOT_IN_CI = ("", "0", "false")
TEST = "test "  # what the stage that measures a model is called, before the model's label
TRAINING_STAGES = ("dataset ", "sequences ")
IS_MEASURED, MEASURED = "is measured", "measured"


class LiveProgress:
    """A line a training, redrawn several times a second; the stages' sentences scroll by above it."""

    def __init__(self, labels: list[str], console: Console) -> None:
        self._console = console
        self._lines = {label: Line() for label in labels}
        self._width = max([LONGEST_STAGE, *(len(f"test {label}") for label in labels)])
        self._lock = threading.Lock()

    def stage(self, name: str, sentence: str) -> None:
        """Print a stage's sentence; that a training is skipped, failed or pruned stands in its line too."""
        with self._lock:
            if name in self._lines and sentence.startswith(("skipped", "failed", "pruned")):
                self._lines[name].state = sentence.partition(":")[0]
            if not name.startswith(TRAINING_STAGES):  # whatever comes next, the one before is measured
                self._change(IS_MEASURED, MEASURED)
            tested = self._lines.get(name.removeprefix(TEST))
            if tested is not None and name.startswith(TEST):
                tested.state = IS_MEASURED if sentence.startswith("runs") else MEASURED
        self._print(name, sentence)

    def _print(self, name: str, sentence: str) -> None:
        told = Table.grid(padding=(0, 2))
        told.add_column(min_width=self._width, no_wrap=True)
        told.add_column(overflow="fold")
        told.add_row(Text(name), Text(sentence), style=style_of(sentence))
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
            shown = self._shown()
            is_ascii = self._console.options.ascii_only
            table = training_table(shown, self._console.width, ascii_only=is_ascii)
            hidden = Counter(line.state for label, line in self._lines.items() if label not in shown)
            told = [f"{state}: {number}" for state, number in hidden.items()]
            told = [f"{hidden.total()} more  {', '.join(told)}"] if hidden else []
            told += filter(None, [remaining(self._lines.values())])
        if not told:
            return table
        return Group(table, Text("; ".join(told), style="dim", no_wrap=True, overflow="ellipsis"))

    def _shown(self) -> dict[str, Line]:
        """Return the lines that have room on the screen: where not all do, those at work and those that failed."""
        room = max(self._console.height - ROOM_FOR_OTHERS, 1)
        if len(self._lines) <= room:
            return self._lines
        told = [(label, line) for label, line in self._lines.items() if line.state in ("trains", "failed")]
        return dict(sorted(told, key=lambda each: each[1].state == "trains")[-room:])


class PlainProgress:
    """Plain lines: one a stage, and one an epoch, or, where `is_quiet`, one a training."""

    def __init__(self, is_quiet: bool = False) -> None:
        self._is_quiet = is_quiet

    def stage(self, name: str, sentence: str) -> None:
        """Print a stage's sentence."""
        print(f"{name}  {sentence}", flush=True)

    def training(self, label: str, event: Event) -> None:
        """Print the end of each epoch, or of the training, and where a training goes on."""
        from flows.progress import line_of

        if self._is_quiet and event["event"] in ("epoch", "end"):
            line = _end_line(event) if event["event"] == "end" else ""
        else:
            line = line_of(event)
        if line:
            print(f"{label}  {line}", flush=True)

    def waits(self, name: str, held: str) -> None:
        """Print for whom a stage waits."""
        self.stage(name, f"waits for {held}")


def _end_line(event: Event) -> str:
    accuracy, epochs = event["validation_accuracy"], event["epochs"]
    told = [f"{'stopped early' if event['stopped_early'] else 'trained'}: {epochs} epoch{'s' * (epochs != 1)}"]
    told += [f"validation accuracy {accuracy:.4f}"] if accuracy is not None else []
    return ", ".join([*told, duration(event["wall_s"])])


@contextlib.contextmanager
def terminal_progress(config: PipelineConfig | None) -> Iterator[LiveProgress | PlainProgress]:
    """Yield the display that fits: live on a terminal, else plain lines; in CI (the variable CI) the fewest."""
    console = Console()
    in_ci = os.environ.get("CI", "").lower() not in NOT_IN_CI
    if in_ci or not console.is_interactive:
        yield PlainProgress(is_quiet=in_ci)
        return
    labels = [f"{v.label} s{seed}" for v in config.variants for seed in config.seeds] if config else []
    progress = LiveProgress(labels, console)
    with Live(progress, console=console, refresh_per_second=4):
        yield progress
