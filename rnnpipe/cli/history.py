"""The versions of a registered model, as people read them in the terminal."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from rnnpipe.cli.outcome import NARROW, VERDICT_STYLES, open_console

if TYPE_CHECKING:
    from rnnpipe.tracking.history import VersionHistory

DIGEST_CHARACTERS = 8
LEFT_OUT = ("variant", "data")  # in a narrow terminal


def print_history(name: str, standings: "Sequence[VersionHistory]") -> None:
    """Print a table of the versions, newest first, the trend of their accuracy, and what people decided."""
    from rnnpipe.tracking.history import OTHER_DATA, spark_line

    console = open_console()
    table = Table(title=Text(name), box=None, header_style="bold", pad_edge=False)
    rows = [_cells(standing) for standing in reversed(standings)]
    shown = [heading for heading in rows[0] if console.width >= NARROW or heading not in LEFT_OUT] if rows else []
    for heading in shown:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        style = VERDICT_STYLES["PROMOTE"] if "champion" in row["alias"] else None
        table.add_row(*(Text(row[heading]) for heading in shown), style=style)
    console.print(table)
    shares = [each.accuracy for each in standings if each.accuracy is not None]
    if shares:
        other = f"; {OTHER_DATA} other images" if OTHER_DATA in spark_line(standings) else ""
        span = f"{min(shares):.2%} to {max(shares):.2%}"
        console.print(f"test accuracy, oldest to newest: {spark_line(standings)}  {span}{other}", markup=False)
    for each in standings:
        if each.decided:
            console.print(f"version {each.version.number}: {each.decided}", style="dim", markup=False)
    console.print()


def _cells(standing: "VersionHistory") -> dict[str, str]:
    """Return heading and text of each cell; without variant and data they fit 80 columns."""
    version, accuracy = standing.version, "-"
    if standing.accuracy is not None and standing.accuracy_low is not None and standing.accuracy_high is not None:
        interval = f"{100 * standing.accuracy_low:.2f} to {100 * standing.accuracy_high:.2f}"
        accuracy = f"{100 * standing.accuracy:.2f} ({interval})"
    return {
        "": str(version.number),
        "alias": ", ".join(standing.aliases) or "-",
        "verdict": standing.verdict or "-",
        "test % (95 % interval)": accuracy,
        "variant": version.tags.get("rnnpipe.variant", "-"),
        "data": standing.dataset_digest[:DIGEST_CHARACTERS] or "-",
        "date (UTC)": time.strftime("%Y-%m-%d %H:%M", time.gmtime(version.created_at_ms / 1000)),
    }
