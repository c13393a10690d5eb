"""Command lines made by grammar from every command and option there is: each ends with the right code, in words.

Where a valid line would start work, the work itself is cut off.
"""

import contextlib
import gc
import io
import logging
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import click
from reporting import Finding, Tally

from rnnpipe.cli import cli, main

PROMISE = "no traceback, and the exit code that is documented for it"
# What a command calls once its line is right.
WORK = {
    "run": "flows.run.run_flow",
    "retrain": "flows.run.run_flow",
    "sweep": "rnnpipe.config.trials.check_sweep",
    "demos": "flows.run.run_flow",
    "ui": "flows.pages.serve_pages",
    "up": "flows.server.keep_server",
    "down": "flows.server.stop_server",
    "predict": "rnnpipe.tracking.client.open_tracking",
    "demo": "rnnpipe.tracking.client.open_tracking",
    "serve-model": "rnnpipe.tracking.client.open_tracking",
    "reproduce": "rnnpipe.tracking.client.open_tracking",
    "why": "flows.why.forecast",
    "report": "rnnpipe.tracking.client.open_tracking",
    "compare": "rnnpipe.tracking.client.open_tracking",
    "doctor": "flows.doctor.examine",
    "sync": "flows.sync.deliver_all",
    "champions": "rnnpipe.tracking.client.open_tracking",
    "runs": "rnnpipe.tracking.client.open_tracking",
    "promote": "rnnpipe.tracking.client.open_tracking",
    "rollback": "rnnpipe.tracking.client.open_tracking",
    "prune": "rnnpipe.tracking.client.open_tracking",
    "deploy": "flows.operations.deploy",
    "serve": "flows.operations.serve",
    "worker": "flows.operations.run_worker",
    "announce": "flows.operations.announce",
    "stack up": "flows.stack.native.run_stack",
    "stack secrets": "flows.stack.secret_files.make_secrets",
    "stack service": "flows.stack.entry.become",
    "stack health": "flows.stack.health.check_health",
}
LIGHT = {"validate", "variants", "datasets", "completion"}  # they do their work here
GARBAGE = (
    "",
    "-",
    "--",
    "---",
    "-x",
    "--=",
    "=",
    "\1",  # no system passes on "\0"
    "\n",
    "\x1b[2J",
    "\udcff",
    "😀",
    "x" * 100_000,
    "*",
    "~",
    "..",
    "/",
    "/dev/null",
    "/dev/zero",
    "-1",
    "1e308",
    "nan",
    "9" * 5000,
    "%s",
    "{}",
    "[",
    "--set",
    "--port",
    "--json=1",
    "--help=1",
    "run",
    "\u202e",
    "models:/../x@champion",
    "models:/a'b@c",
    "a=b",
    "data.name=mnist",
    "--no-such-option",
    "@file",
    ";",
)
SETTINGS = (
    "training.epochs=0",
    "x",
    "=",
    "training..x=1",
    "seeds.9=1",
    "name=[",
    "name=../x",
    "a=\udcff",
    "name=!!python/x",
)
VALUES = {
    "dataset": ["digits"],
    "shell": ["bash", "zsh", "fish"],
    "without": ["worker"],
    "name": ["worker", "prefect"],
    "folder": ["."],
}
CODES = {0, 2, 3}  # of garbage: help or a list, a wrong line, an image that isn't there


class Started(BaseException):
    """A line was right: its work would start here."""


@dataclass(frozen=True)
class Line:
    """A command line and the codes it may end with; None where its work starts."""

    fault: str
    arguments: tuple[str, ...]
    codes: frozenset[int | None]


def leaves(group: click.Group) -> dict[str, click.Command]:
    """Return every command by the words that call it, also those below others."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        below = leaves(command) if isinstance(command, click.Group) else None
        found |= {name: command} if below is None else {f"{name} {each}": one for each, one in below.items()}
    return found


def start(*arguments: object, **keywords: object) -> None:
    """Stand in for a command's work."""
    raise Started


class Grammar:
    """Makes lines, right and wrong, for the commands and options that click knows."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.good, self.bad, self.image = folder / "good.yaml", folder / "bad.yaml", folder / "0.png"
        self.good.write_text("variants: [{name: gru}]\n")
        self.bad.write_text("variants: [{name: gruu}]\n")
        self.image.touch()
        self.strange = Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml"))  # as a terminal of old has it
        self.strange.write_bytes(self.good.read_bytes())

    def lines(self, count: int) -> Iterator[Line]:
        """Yield `count` lines, the kinds and the commands in turn."""
        kinds = (self.right, self.helped, self.unknown_option, self.missing, self.too_much, self.wrong_value,
                 self.wrong_config, self.unknown_command, self.garbage)  # fmt: skip
        commands = leaves(cli)
        names = sorted(commands)
        for number in range(count):
            name = names[number // len(kinds) % len(names)]
            yield kinds[number % len(kinds)](name, commands[name])

    def arguments(self, command: click.Command) -> list[list[str]]:
        """Return right values of a command's options and arguments, each in its own list, options at random."""
        parts = []
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                parts.append([self.value(parameter)])
            elif isinstance(parameter, click.Option) and self.random.random() < 0.5:
                parts.append([parameter.opts[0], *([] if parameter.is_flag else [self.value(parameter)])])
        self.random.shuffle(parts)
        # what isn't an option keeps its order
        places = [index for index, part in enumerate(parts) if not part[0].startswith("-")]
        values = [[self.value(each)] for each in command.params if isinstance(each, click.Argument)]
        for place, value in zip(places, values, strict=True):
            parts[place] = value
        return parts

    def value(self, parameter: click.Parameter) -> str:
        """Return a right value."""
        if parameter.name in VALUES:
            return self.random.choice(VALUES[parameter.name])
        if parameter.name == "overrides":
            return self.random.choice(["training.epochs=3", "seeds=[1,2]", "name=x"])
        if isinstance(parameter.type, click.types.FloatParamType):
            return str(self.random.uniform(0.01, 0.99))
        if isinstance(parameter.type, click.types.IntParamType):
            return str(self.random.randint(1, 65_535))
        if parameter.name in ("model", "run", "a", "b"):
            return self.random.choice(["digits-rows", "models:/digits-rows@champion", "models:/digits-rows/3"])
        return str(self.image if parameter.name == "images" else self.random.choice([self.good, self.strange]))

    def line(self, fault: str, name: str, parts: list[list[str]], *codes: int | None) -> Line:
        if self.random.random() < 0.2:
            parts.insert(self.random.randint(0, len(parts)), ["--debug"] if None in codes else [])
        return Line(fault, (*name.split(), *(word for part in parts for word in part)), frozenset(codes))

    def right(self, name: str, command: click.Command) -> Line:
        return self.line("right", name, self.arguments(command), 0 if name in LIGHT else None)

    def helped(self, name: str, command: click.Command) -> Line:
        parts, asks = self.arguments(command), [self.random.choice(["-h", "--help"])]
        parts.insert(0 if takes_the_rest(command) else len(parts), asks)
        return self.line("asking for help", name, parts, 0)

    def unknown_option(self, name: str, command: click.Command) -> Line:
        odd = self.random.choice(["--no-such", "-x", "--sett=1", "--\udcff", "--" + "y" * 9999])
        return self.line("an unknown option", name, [[odd], *self.arguments(command)], 2)

    def missing(self, name: str, command: click.Command) -> Line:
        if any(isinstance(each, click.Argument) and each.required for each in command.params):
            return self.line("an argument missing", name, [], 2)
        valued = [each for each in command.params if isinstance(each, click.Option) and not each.is_flag]
        return self.line("an argument missing", name, [[valued[0].opts[0]]] if valued else [["--no-such"]], 2)

    def too_much(self, name: str, command: click.Command) -> Line:
        many = any(each.nargs == -1 for each in command.params)
        if takes_the_rest(command):
            return self.unknown_option(name, command)
        extra = [self.random.choice(["--json=1", "--invert=1"])] if many else ["one", "too many"]
        return self.line("an argument too many", name, [*self.arguments(command), extra], 2)

    def wrong_value(self, name: str, command: click.Command) -> Line:
        for each in command.params:
            numbers = click.types.IntParamType | click.types.FloatParamType
            if isinstance(each, click.Option) and isinstance(each.type, numbers):
                odd = self.random.choice(["", "x", "1.5", "1e3", "nan", "inf", "9" * 5000, "\udcff", "0x10"])
                return self.line(
                    "a value of another type", name, [*self.arguments(command), [each.opts[0], odd]], 2
                )
        return self.unknown_option(name, command)

    def wrong_config(self, name: str, command: click.Command) -> Line:
        if name in WORK.keys() | LIGHT and any(each.name == "overrides" for each in command.params):
            odd = self.random.choice(
                [[str(self.bad)], ["/no/such.yaml"], [str(self.good), "--set", self.random.choice(SETTINGS)]]
            )
            return self.line("a wrong config or --set", name, [odd], 2)
        if name == "predict":
            return self.line(
                "an image that isn't there", name, [["digits-rows", str(self.image), "/no/such.png"]], 3
            )
        return self.unknown_option(name, command)

    def unknown_command(self, name: str, command: click.Command) -> Line:
        *groups, last = name.split()
        odd = last.upper() + self.random.choice(["", "x", "\udcff"])
        return Line("an unknown command", (*groups, odd, "x"), frozenset({2}))

    def garbage(self, name: str, command: click.Command) -> Line:
        words = self.random.choices(GARBAGE, k=self.random.randint(1, 5))
        words = [*name.split(), *words] if self.random.random() < 0.7 else words
        return Line("garbage", tuple(words), frozenset({*CODES, None}))


def takes_the_rest(command: click.Command) -> bool:
    """Say whether all that follows a first argument is no longer the command's own."""
    return not command.context_settings.get("allow_interspersed_args", True)


@contextlib.contextmanager
def work_cut_off() -> Iterator[None]:
    """Let no command start its work, nor change how this process takes signals, collects garbage and logs."""
    assert leaves(cli).keys() == WORK.keys() | LIGHT
    handler, logger = signal.getsignal(signal.SIGTERM), logging.getLogger("rnnpipe")
    level, handlers = logger.level, list(logger.handlers)
    with contextlib.ExitStack() as stack:
        for work in (*WORK.values(), "flows.stack.secret_files.read_secret"):
            stack.enter_context(patch(work, start))
        stack.enter_context(patch.dict(os.environ, RNNPIPE_SERVICE="worker"))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
            gc.unfreeze()
            logger.setLevel(level)
            logger.handlers[:] = handlers


def broken_by(line: Line) -> list[str]:
    """Give a line to the command line; return what broke."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # strict, as a terminal is
    errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    code: int | None = None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main(line.arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        except Started:
            code = None
        except BaseException as error:
            return [f"{line.arguments!r:.200}: {type(error).__name__}: {error}"]
    errors.flush()
    told = errors.buffer.getvalue().decode()  # type: ignore[attr-defined]
    broken = [] if code in line.codes else [f"it ends with {code}, not {set(line.codes)}: {told[-200:]}"]
    broken += [f"it says {word}" for word in ("Traceback", "unexpected error") if word in told]
    broken += ["it says nothing"] if code and not told.strip() else []
    return [f"{line.arguments!r:.200}: {each}" for each in broken]


def run(count: int, seed: int = 0) -> list[Finding]:
    """Try `count` lines; equal seeds give equal lines."""
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as folder, work_cut_off():
        for line in Grammar(Path(folder), seed).lines(count):
            tally = tallies.setdefault(line.fault, Tally(f"command line: {line.fault}", PROMISE))
            tally.add(*broken_by(line))
    return [tally.finding() for tally in tallies.values()]
