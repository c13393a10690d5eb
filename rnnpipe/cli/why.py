"""why: what a run would do, and for which reason."""

from pathlib import Path

import click

from rnnpipe.cli.words import OVERRIDES


@click.command(short_help="Say what a run would do, and why.")
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
def why(config: Path, overrides: tuple[str, ...]) -> None:
    """Say for each stage of CONFIG whether it would run or be skipped, and why; nothing is run or changed."""
    from rnnpipe.config import load_config

    loaded = load_config(config, overrides)
    from flows.why import forecast
    from rnnpipe.store import Store

    for stage in forecast(loaded, Store.of_workspace()):
        click.echo(f"{stage.name}  {stage.sentence}")
