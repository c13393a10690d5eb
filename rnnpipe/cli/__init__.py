"""The command line. Commands import what they need when they run, so that --help is instant."""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from rnnpipe import __version__
from rnnpipe.errors import RnnpipeError

COMMANDS = {
    "run": "rnnpipe.cli.run:run",
    "validate": "rnnpipe.cli.check:validate",
    "variants": "rnnpipe.cli.check:variants",
    "datasets": "rnnpipe.cli.check:datasets",
    "demos": "rnnpipe.cli.run:demos",
    "predict": "rnnpipe.cli.predict:predict",
    "ui": "rnnpipe.cli.services:ui",
    "up": "rnnpipe.cli.services:up",
    "down": "rnnpipe.cli.services:down",
}
SUMMARIES = {
    "run": "Run the pipeline that a config describes.",
    "validate": "Check configs; lists every mistake at once.",
    "variants": "List the recurrent nets.",
    "datasets": "List the datasets and the sequence transforms.",
    "demos": "Run the tutorials' toy demos, tracked, with the parity check.",
    "predict": "Classify images with a registered model.",
    "ui": "Open the MLflow and Prefect pages on this machine.",
    "up": "Start the workspace's Prefect server and keep it.",
    "down": "Stop the workspace's Prefect server.",
}
INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; for the list of commands only its summary is needed."""
        if cmd_name not in COMMANDS:
            return None
        if not ctx.protected_args if hasattr(ctx, "protected_args") else False:
            return click.Command(cmd_name, help=SUMMARIES[cmd_name])
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command
