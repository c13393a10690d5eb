"""up, down, ui: the workspace's servers, on this machine only."""

import os

import click

MLFLOW_PORT = 5000


@click.command(short_help="Start the workspace's Prefect server and keep it.")
def up() -> None:
    """Start the workspace's Prefect server and keep it, so that runs needn't start one of their own."""
    from flows.environment import set_defaults
    from flows.server import keep_server, ui_url
    from rnnpipe.credentials import mask_credentials
    from rnnpipe.errors import ServiceError
    from rnnpipe.store import workspace_root

    if other := os.environ.get("PREFECT_API_URL"):
        raise ServiceError(f"PREFECT_API_URL is set: runs use {mask_credentials(other)}", "unset it first")
    workspace = workspace_root()
    set_defaults(workspace)
    url = keep_server(workspace)
    click.echo(f"Prefect is up: {ui_url(url)}")
    click.echo("`rnnpipe run` uses it by itself; for Prefect's own commands:")
    click.echo(f"  export PREFECT_API_URL={url}")
    click.echo("stop it with: rnnpipe down")


@click.command(short_help="Stop the workspace's Prefect server.")
def down() -> None:
    """Stop the workspace's Prefect server, once no run uses it."""
    from flows.server import stop_server
    from rnnpipe.store import workspace_root

    click.echo(stop_server(workspace_root()))


@click.command(short_help="Open the MLflow and Prefect pages on this machine.")
@click.option(
    "--port", default=MLFLOW_PORT, show_default=True, type=click.IntRange(1, 65535), help="MLflow's port."
)
def ui(port: int) -> None:
    """Serve the MLflow page and the Prefect page of the workspace on loopback, until Ctrl-C."""
    from flows.pages import serve_pages
    from rnnpipe.cli.interrupts import Terminated

    try:
        serve_pages(port, click.echo)
    except Terminated:
        raise
    except KeyboardInterrupt:
        click.echo("both pages are stopped")
