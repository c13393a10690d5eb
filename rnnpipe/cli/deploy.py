"""deploy, serve, worker, announce: runs that Prefect starts by itself."""

import signal
from pathlib import Path

import click

from rnnpipe.cli.words import DATASET

FILE = click.option(
    "--file", "path", default="prefect.yaml", show_default=True, type=click.Path(path_type=Path),
    help="File of deployments.",
)  # fmt: skip
LIMIT = click.option(
    "--limit", default=3, show_default=True, type=click.IntRange(1),
    help="Most runs under way; the others stay scheduled. Those that wait for the device count.",
)  # fmt: skip


@click.command(short_help="Bring a Prefect server in line with prefect.yaml.")
@FILE
def deploy(path: Path) -> None:
    """Bring a Prefect server in line with a file: work pool, deployments, schedules, triggers, automations.

    The server is PREFECT_API_URL's, or the workspace's after `rnnpipe up`. Done again, it changes nothing.
    """
    from flows.operations import deploy

    deploy(path, click.echo)


@click.command(short_help="Deploy, and run what is due, in one process on this machine.")
@FILE
@LIMIT
def serve(path: Path, limit: int) -> int:
    """Deploy to the workspace's Prefect server, started if need be, and execute what is due, until Ctrl-C."""
    from flows.operations import serve

    return _code_of(serve(path, limit, click.echo))


@click.command(short_help="Execute the runs of a Prefect server's work pool.")
@click.option("--pool", default="rnnpipe", show_default=True, help="Work pool, of type process.")
@LIMIT
def worker(pool: str, limit: int) -> int:
    """Execute the runs of a work pool, each in a process of its own, until Ctrl-C or SIGTERM.

    When it is stopped, its runs end first and are handed back: the next worker goes on with them from their last
    checkpoint. The server is PREFECT_API_URL's, or the workspace's after `rnnpipe up`.
    """
    from flows.operations import run_worker

    return _code_of(run_worker(pool, limit, click.echo))


@click.command(short_help="Tell Prefect that a dataset has changed.")
@DATASET
@click.option("--note", default="", help="What has changed, for whoever reads the event.")
def announce(dataset: str, note: str) -> None:
    """Tell the Prefect server that DATASET has changed, which starts the deployments that wait for it."""
    _check_dataset(dataset)
    from flows.operations import announce

    announce(dataset, note)
    click.echo(f"announced: rnnpipe.dataset.updated for {dataset}")


def _check_dataset(name: str) -> None:
    from rnnpipe.catalogue import DATASETS
    from rnnpipe.config.mistakes import nearest_name
    from rnnpipe.errors import ConfigError

    if name not in DATASETS:
        raise ConfigError(
            f"there is no dataset {name}{nearest_name(name, DATASETS)}", "rnnpipe datasets lists them"
        )


def _code_of(number: int) -> int:
    """Return the exit code of a command that runs until a signal; Ctrl-C is its ordinary end."""
    from rnnpipe.cli.interrupts import TERMINATED

    return TERMINATED if number == signal.SIGTERM else 0
