"""promote, rollback, champions: which version counts, who decided it, and how it went over time."""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnpipe.cli.words import model_argument

if TYPE_CHECKING:
    from rnnpipe.tracking.client import Tracking
    from rnnpipe.tracking.history import RegisteredModel, VersionHistory

START = "no model is registered yet; `rnnpipe run configs/quickstart.yaml` trains some and registers the best"
TESTED = " is tested in a clean process before anything moves"
REASON = click.option("--reason", default="", metavar="TEXT", help="Why; it is written on the version.")


@click.command(short_help="Make a version the champion, by hand.")
@model_argument()
@REASON
@click.option("--anyway", is_flag=True, help="Also a version whose verdict is REJECT.")
def promote(model: str, reason: str, anyway: bool) -> None:
    """Make MODEL the champion: models:/NAME/3, NAME/3 or NAME@challenger. The champion so far becomes `previous`.

    Before that, its files are verified, and it is loaded in a clean process and tested. That you decided, and why,
    is written on the version as the tag rnnpipe.decided. Refuses a version whose verdict is REJECT.
    """
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.tracking.by_hand import promote_by_hand
    from rnnpipe.tracking.history import read_models
    from rnnpipe.tracking.registry import resolve_model_uri

    tracking, workspace = open_registry()
    version = resolve_model_uri(tracking, model)
    click.echo(f"{version.uri}{TESTED}", err=True)
    click.echo(promote_by_hand(tracking, version, reason, anyway=anyway).text)
    _publish(tracking, workspace, *read_models(tracking, version.name))


@click.command(short_help="Bring the champion before back.")
@model_argument("name")
@REASON
def rollback(name: str, reason: str) -> None:
    """Make the `previous` version of the registered model NAME the champion, and the champion `previous`.

    Before that, it is loaded in a clean process and tested.
    """
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.tracking.by_hand import roll_back
    from rnnpipe.tracking.history import read_models

    tracking, workspace = open_registry()
    read_models(tracking, name)  # which says what there is if this isn't
    click.echo(f"{name}@previous{TESTED}", err=True)
    click.echo(roll_back(tracking, name, reason).text)
    _publish(tracking, workspace, *read_models(tracking, name))


@click.command(short_help="List the versions of the registered models, and the trend.")
@model_argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with every model and version.")
def champions(name: str | None, as_json: bool) -> None:
    """List the versions of each registered model, or of NAME: aliases, verdict, accuracy, data, date, trend.

    The trend over retrains stands in MLflow too, as a figure on the registered model's page.
    """
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.tracking.history import read_models, standings_of

    tracking, workspace = open_registry()
    models = read_models(tracking, name)
    if as_json:
        found = {model.name: [_as_json(each) for each in standings_of(model)] for model in models}
        click.echo(json.dumps(found, indent=1))
    elif models:
        from rnnpipe.cli.history import print_history

        for model in models:
            print_history(model.name, standings_of(model))
    else:
        click.echo(START)
    _publish(tracking, workspace, *models)


def _as_json(standing: "VersionHistory") -> dict[str, Any]:
    """Return what `--json` says of a version."""
    version = standing.version
    return {
        "version": version.number,
        "uri": version.uri,
        "variant": version.tags.get("rnnpipe.variant", ""),
        "run_id": version.run_id,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(version.created_at_ms / 1000)),
        **{name: value for name, value in dataclasses.asdict(standing).items() if name != "version"},
    }


def _publish(tracking: "Tracking", workspace: Path, *models: "RegisteredModel") -> None:
    """Bring the figures in MLflow up to date; who may only read there is told, and has the list all the same."""
    from rnnpipe.errors import TrackingError
    from rnnpipe.tracking.trend import publish_trend

    try:
        for model in models:
            publish_trend(tracking, workspace, model)
    except TrackingError as error:
        click.secho(f"the trend's figure in MLflow isn't up to date: {error.message}", fg="yellow", err=True)
