"""retrain: the pipeline, but only if something has changed since the last verdict."""

from pathlib import Path

import click

from rnnpipe.cli.run import run_config
from rnnpipe.cli.words import OVERRIDES


@click.command(short_help="Run the pipeline if images, config or code have changed.")
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
@click.option("--force", is_flag=True, help="Also if nothing has changed.")
def retrain(config: Path, overrides: tuple[str, ...], force: bool) -> int:
    """Run the pipeline of CONFIG if its images, the config or the code have changed since the last verdict.

    Otherwise it says what was judged on the same, and when. The images are compared with those that the champion
    was trained on: where a class is missing, their size has changed or their values are out of range, it stops.
    """
    return run_config("flows.retrain:retrain", config, overrides, force=force)
