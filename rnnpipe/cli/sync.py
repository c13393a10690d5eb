"""sync: what MLflow couldn't be told when it happened."""

import click

from rnnpipe.cli.run import EXIT_NOT_TRACKED, quieten_prefect


@click.command(short_help="Send MLflow what it couldn't be told.")
def sync() -> int:
    """Send MLflow what waits in the workspace because it couldn't be reached; every run does the same first."""
    from rnnpipe.cli.progress import terminal_progress

    with terminal_progress(None) as progress:
        quieten_prefect()
        from flows.sync import deliver_all

        delivered, waiting = deliver_all(progress)
    if not delivered and not waiting:
        click.echo("nothing waits: MLflow has been told everything")
    else:
        click.echo(f"MLflow was told of {delivered} pipeline runs, {waiting} still wait")
    return EXIT_NOT_TRACKED if waiting else 0
