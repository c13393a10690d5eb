"""stack: Postgres, Prefect, MLflow and a worker, with logins; in containers, or here without."""

import os
from pathlib import Path
from typing import Any

import click

name_option = click.option("--name", envvar="RNNPIPE_SERVICE", help="The service; RNNPIPE_SERVICE by default.")


@click.group(short_help="Run the self-hosted stack: Postgres, Prefect, MLflow, a worker.")
def stack() -> None:
    """Run the self-hosted stack: Postgres, Prefect, MLflow and a worker, with logins.

    `up` runs it on this machine without containers; docker/compose.yaml runs the same services in containers.
    """


@stack.command(short_help="Run the whole stack here, until Ctrl-C.")
@click.option("--prefect-port", default=4200, show_default=True, type=click.IntRange(1, 65535))
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--postgres-port", default=54320, show_default=True, type=click.IntRange(1, 65535))
@click.option("--without", multiple=True, metavar="SERVICE", help="Leave a service out; repeatable.")
def up(prefect_port: int, mlflow_port: int, postgres_port: int, without: tuple[str, ...]) -> None:
    """Run the whole stack on loopback, until Ctrl-C; it needs Postgres (apt-get install postgresql).

    The secrets are made at the first start, in stack/secrets of the workspace. It deploys ./prefect.yaml.
    """
    from dataclasses import replace

    from flows.stack.native import run_stack
    from flows.stack.places import VARIABLES, places_of_environment
    from flows.stack.services import SERVICES
    from rnnpipe.cli.interrupts import Terminated
    from rnnpipe.store import workspace_root

    if unknown := set(without) - SERVICES.keys():
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(SERVICES)}", param_hint="--without")
    told = places_of_environment(workspace_root())
    ports = {"postgres": postgres_port, "prefect": prefect_port, "mlflow": mlflow_port}
    found: dict[str, Any] = {name: f"{told.asked}:{port}" for name, port in ports.items()}
    pages = {f"{name}_page": f"http://{found[name]}" for name in ("prefect", "mlflow")}
    found |= {name: page for name, page in pages.items() if not os.environ.get(VARIABLES[name])}
    places = replace(told, **found)
    try:
        run_stack(places, without, click.echo)
    except Terminated:
        raise
    except KeyboardInterrupt:
        click.echo("the stack is stopped")


@stack.command(short_help="Make the secrets that aren't there, and check all.")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option("--check", is_flag=True, help="Make none.")
def secrets(folder: Path | None, check: bool) -> None:
    """Make at random the secrets that aren't in FOLDER (stack/secrets of the workspace), and check them all."""
    from flows.stack.places import places_of_environment
    from flows.stack.secret_files import SECRETS, make_secrets, read_secret
    from rnnpipe.store import workspace_root

    folder = folder or places_of_environment(workspace_root()).secrets
    for path in [] if check else make_secrets(folder):
        click.echo(f"made {path}: {SECRETS[path.name]}")
    for name in SECRETS:
        read_secret(folder, name)
    click.echo(f"{len(SECRETS)} secrets, none a default")


@stack.command(short_help="Become one service of the stack.", context_settings={"allow_interspersed_args": False})
@name_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def service(name: str | None, command: tuple[str, ...]) -> None:
    """Become a service of the stack; or run COMMAND with its settings and secrets instead."""
    from flows.stack.entry import become

    become(_known(name), command)


@stack.command(short_help="Say whether a service does its work.")
@name_option
def health(name: str | None) -> None:
    """Ask a service as its clients do, with their login; exit code 6 if it doesn't do its work."""
    from flows.stack.health import check_health
    from flows.stack.places import places_of_environment
    from flows.stack.services import SERVICES
    from rnnpipe.store import workspace_root

    if not name:
        click.echo("no service of the stack runs here")
    elif SERVICES[_known(name)].ends:
        click.echo(f"{name} says by its exit code how it went")
    else:
        check_health(name, places_of_environment(workspace_root()))
        click.echo(f"{name} is well")


def _known(name: str | None) -> str:
    from flows.stack.services import SERVICES

    if name not in SERVICES:
        raise click.BadParameter(f"has to be one of {', '.join(SERVICES)}", param_hint="--name")
    return name
