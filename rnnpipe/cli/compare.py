"""compare: two models side by side, in one screen or as a page, with an exit code for scripts."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click import FloatRange

from rnnpipe.cli.words import run_argument

if TYPE_CHECKING:
    from rnnpipe.reporting.comparison import Side, SideBySide

STYLES = {0: "yellow", 10: "green", 11: "green", 12: "yellow"}  # of the exit codes


def _number(value: float) -> float:
    """Refuse what is no number: it is in every range."""
    if math.isnan(value):
        raise click.BadParameter("nan is no number")
    return value


@click.command(short_help="Compare two runs or registered models.")
@run_argument("a")
@run_argument("b")
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="Write the page too, with the changed images."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
@click.option(
    "--significance",
    default=0.05,
    show_default=True,
    type=FloatRange(0, 1, min_open=True, max_open=True),
    callback=lambda context, parameter, value: _number(value),
    help="p-value up to which a difference counts as shown.",
)
def compare(a: str, b: str, page: Path | None, as_json: bool, significance: float) -> int:
    """Compare models A and B: accuracy with intervals, images fixed and broken, config, speed, size.

    Each is a registered version (NAME, models:/NAME@ALIAS, models:/NAME/3), a run as `rnnpipe run` prints it (its
    best model), one of MLflow's runs, or a config's file (its last run). The answers to the same test images are
    compared by McNemar's exact test; where the images differ, there is no such test.

    Exit codes: 0 no evidence that one is better, 10 A is better, 11 B is better, 12 other test images.
    """
    from rnnpipe.reporting.comparison import SideBySide
    from rnnpipe.store import workspace_root

    workspace = workspace_root()
    found = SideBySide.of(_find(workspace, a), _find(workspace, b), significance)
    if page is not None:
        from rnnpipe.files import write_bytes
        from rnnpipe.reporting.comparison_page import comparison_page
        from rnnpipe.store import Store

        write_bytes(page, comparison_page(found, Store(workspace / "store")).encode())
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    else:
        _print(found)
        if page is not None:
            click.echo(str(page))
    return found.outcome


def _find(workspace: Path, text: str) -> "Side":
    """Return the model that a text means; MLflow is opened for what the workspace doesn't keep."""
    from rnnpipe.reporting.kept import kept_side

    side = kept_side(workspace, text)
    if side is None:
        from rnnpipe.cli.opening import open_registry
        from rnnpipe.tracking.sides import find_side

        side = find_side(*open_registry(), text)
    return side


def _print(found: "SideBySide") -> None:
    from rich.table import Table
    from rich.text import Text

    from rnnpipe.cli.tables import open_console

    console = open_console()
    for letter, side in (("A", found.a), ("B", found.b)):
        console.print(f"{letter}  {side.name}", markup=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "A", "B", "B against A"):
        table.add_column(heading, overflow="fold")
    for row in found.rows:
        table.add_row(*map(Text, (row.what, row.a, row.b, row.between)))
    console.print(table)
    differences = found.config_differences
    console.print(f"config: {'; '.join(differences) or 'no field differs'}", style="dim", markup=False)
    console.print(found.sentence, style=STYLES[found.outcome], markup=False)
