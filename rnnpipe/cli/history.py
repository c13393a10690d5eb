"""The versions of a registered model, as people read them in the terminal."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnpipe.cli.outcome import VERDICT_STYLES
from rnnpipe.cli.tables import fitting_table, open_console

if TYPE_CHECKING:
    from rnnpipe.tracking.history import VersionHistory

DIGEST_CHARACTERS = 8
LEFT_OUT = ("data", "variant", "date (UTC)")  # where there is no room for all, in this order


def print_history(name: str, standings: "Sequence[VersionHistory]") -> None:
    """Print a table of the versions, newest first, the trend of their accuracy, and what people decided."""
    from rnnpipe.tracking.history import OTHER_DATA, spark_line

    console = open_console()
    rows = [_cells(standing) for standing in reversed(standings)]
    champions = [number for number, row in enumerate(rows) if "champion" in row["alias"]]
    console.print(
        fitting_table(console, name, rows, LEFT_OUT, dict.fromkeys(champions, VERDICT_STYLES["PROMOTE"]))
    )
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
    """Return heading and text of each cell."""
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
