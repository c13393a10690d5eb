"""The command line. Commands import what they need when they run, so that --help is instant."""

import gc
import os
import sys
from collections.abc import Sequence

import click

from rnnpipe import __version__
from rnnpipe.cli.champions import champions, promote, rollback
from rnnpipe.cli.check import datasets, validate, variants
from rnnpipe.cli.compare import compare
from rnnpipe.cli.deploy import announce, deploy, serve, worker
from rnnpipe.cli.doctor import doctor
from rnnpipe.cli.interrupts import exit_code_of, raise_on_sigterm
from rnnpipe.cli.predict import predict
from rnnpipe.cli.prune import prune
from rnnpipe.cli.report import report
from rnnpipe.cli.reproduce import reproduce
from rnnpipe.cli.retrain import retrain
from rnnpipe.cli.run import demos, run
from rnnpipe.cli.runs import runs
from rnnpipe.cli.services import down, ui, up
from rnnpipe.cli.serving import demo, serve_model
from rnnpipe.cli.stack import stack
from rnnpipe.cli.sweep import sweep
from rnnpipe.cli.sync import sync
from rnnpipe.cli.why import why
from rnnpipe.cli.words import completion
from rnnpipe.errors import RnnpipeError, explained

EPILOG = """Exit codes: 0 done, 1 unexpected, 2 config or arguments, 3 data, 4 training, 5 MLflow, 6 Prefect,
7 device, 8 disk, 130 interrupted (Ctrl-C), 143 terminated; of `compare` also 10 A is better, 11 B is better,
12 other test images. --debug, anywhere, shows the traceback of an error."""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="rnnpipe")
def cli() -> None:
    """Recurrent nets as tracked, repeatable, scheduled pipeline tasks.

    Everything is kept in the workspace: .rnnpipe in this folder, or where RNNPIPE_HOME says.
    """


COMMANDS = (
    run, runs, retrain, sweep, why, report, compare, sync, validate, variants, datasets, demos, predict, demo,
    reproduce, champions, promote, rollback, prune, serve_model, deploy, serve, worker, announce, stack, ui, up,
    down, doctor, completion,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are told in words."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    colour = False if os.environ.get("NO_COLOR") else None  # None: on terminals
    debug = "--debug" in given or bool(os.environ.get("RNNPIPE_DEBUG"))
    given = [argument for argument in given if argument != "--debug"]
    raise_on_sigterm()
    try:
        if any("\0" in argument for argument in given):  # no file has such a name, and click would ask for one
            raise click.UsageError("an argument holds a NUL character; leave it out")
        code = cli.main(given, standalone_mode=False, color=colour)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, click.Abort) as interrupt:
        click.echo("interrupted; what was finished is kept, and the same command goes on from there", err=True)
        _remove_half_written()
        sys.exit(exit_code_of(interrupt))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as raised:
        if debug:
            raise
        problem = explained(raised)
        if isinstance(problem, RnnpipeError):
            click.secho(f"error: {problem}", fg="red", err=True, color=colour)
            sys.exit(problem.exit_code)
        told = f"unexpected error: {type(problem).__name__}: {problem}"
        click.secho(told, fg="red", err=True, color=colour)
        click.echo("  fix: run it again with --debug for the traceback, and report it", err=True)
        sys.exit(1)
    finally:
        gc.freeze()  # taking apart what torch, MLflow and Prefect have loaded would cost two seconds


def _remove_half_written() -> None:
    """Leave nothing of what threads were cut off at."""
    from rnnpipe.files import remove_own_temporaries
    from rnnpipe.store import workspace_root

    remove_own_temporaries(workspace_root())
