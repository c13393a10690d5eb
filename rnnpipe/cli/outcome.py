"""What a run ends with, as people read it in the terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from flows.demos import DemosOutcome
    from flows.summary import RunSummary
    from rnnpipe.evaluation.leaderboard import LeaderboardRow

WIDTH = 118  # where the output is no terminal
LESS_NEEDED = {"parameters": 112, "images/s": 102, "trained in": 92, "validation": 82}  # shown from this width on
VERDICT_STYLES = {"PROMOTE": "bold green", "HOLD": "bold yellow", "REJECT": "bold red"}


def print_outcome(summary: "RunSummary") -> None:
    """Print leaderboard, verdict, registered model, failures, and how to go on."""
    console = _console()
    table = Table(title=f"{summary.task}, run {summary.run}", box=None, header_style="bold", pad_edge=False)
    rows = [_cells(rank, row) for rank, row in enumerate(summary.leaderboard.rows, start=1)]
    shown = [heading for heading in rows[0] if console.width >= LESS_NEEDED.get(heading, 0)]
    for heading in shown:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*(row[heading] for heading in shown))
    console.print()
    console.print(table)
    console.print(f"measured on {summary.conditions}", style="dim")
    for failure in summary.failures:
        console.print(f"failed: {failure.label}: {failure.message}", style="red", markup=False)
        console.print(f"  fix: {failure.fix}", markup=False)
    if summary.verdict is not None:
        verdict = summary.verdict
        style = VERDICT_STYLES[verdict.decision]
        console.print(f"\n[{style}]{verdict.decision}[/] {summary.model_uri}: {verdict.reason}")
        console.print(f"chosen for the {summary.chosen_by}", style="dim")
        console.print(f"champion: {summary.champion or 'none yet'}")
    if summary.tracking_problem:
        console.print(f"\nnot tracked: {summary.tracking_problem}", style="red", markup=False)
    console.print("\nnext:")
    console.print("  rnnpipe ui    the MLflow page (compare runs, model versions) and Prefect's")
    if summary.model_uri:
        console.print(f"  rnnpipe predict {summary.model_name} IMAGE    classify images with the champion")


def _cells(rank: int, row: "LeaderboardRow") -> dict[str, str]:
    """Return heading and text of each cell."""
    return {
        "": str(rank),
        "variant": row.name,
        "test accuracy, 95 % interval": (
            f"{100 * row.accuracy:.2f} %  {100 * row.accuracy_low:.2f} to {100 * row.accuracy_high:.2f}"
        ),
        "validation": "-" if row.validation_accuracy is None else f"{100 * row.validation_accuracy:.2f} %",
        "parameters": f"{row.parameters:,}",
        "trained in": f"{row.train_wall_s:.1f} s",
        "images/s": f"{row.train_samples_per_s:,.0f}",
        "latency": f"{row.latency_ms_p50:.2f} ms",
    }


def _console() -> Console:
    """Return the terminal, or a page that is as wide as a line is long where the output goes to a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDTH)


def print_demos(outcome: "DemosOutcome") -> None:
    """Print what each demo gave, and whether the cells agree."""
    console = _console()
    for report in outcome.reports:
        console.print(f"\n[bold]{report['name']}[/]  {report['summary']}")
        for name, values in report["outputs"].items():
            for number, row in enumerate(values):
                label = f"{name} =" if number == 0 else ""
                console.print(f"  {label:5}{'  '.join(f'{value:+.4f}' for value in row)}")
    console.print("\n[bold]parity[/]  the same weights in each cell, float64: largest differences")
    for line in outcome.parity_lines:
        console.print(f"  {line}")
    console.print(
        f"\ntracked in MLflow: experiment recurrence-demos, {len(outcome.run_ids)} runs; `rnnpipe ui` opens it"
    )
