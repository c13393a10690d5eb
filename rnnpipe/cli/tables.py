"""Tables that fit the terminal: what is least asked for is left out first."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDTH = 118  # where the output is no terminal


def open_console() -> Console:
    """Return the terminal, or a page that is as wide as a line is long where the output goes to a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDTH)


def fitting_table(
    console: Console,
    title: str,
    rows: Sequence[Mapping[str, str]],
    left_out: Sequence[str],
    styles: Mapping[int, str] | None = None,
) -> Table:
    """Return rows, given by heading, as a table with all columns, or without so many of `left_out` that it fits.

    `styles` are those of single rows, by their number. Too wide even so, it loses the ends of its cells.
    """
    for number in range(len(left_out) + 1):
        table = Table(title=Text(title), box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        shown = [heading for heading in (rows[0] if rows else ()) if heading not in left_out[:number]]
        for heading in shown:
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for place, row in enumerate(rows):
            table.add_row(*(Text(row[heading]) for heading in shown), style=(styles or {}).get(place))
        if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
            break
    return table
