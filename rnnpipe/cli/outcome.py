"""What a run ends with, as people read it in the terminal."""

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from rnnpipe.cli.tables import fitting_table, open_console

if TYPE_CHECKING:
    from flows.demos import DemosOutcome
    from flows.summary import RunSummary
    from rnnpipe.evaluation.groups import VariantSummary
    from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow

LEFT_OUT = (
    "val. %",
    "img/s",
    "params",
    "ms/img",
    "train s",
    "group",
)  # where there is no room for all, in this order
VERDICT_STYLES = {"PROMOTE": "bold green", "HOLD": "bold yellow", "REJECT": "bold red"}


def print_outcome(summary: "RunSummary") -> None:
    """Print leaderboard, verdict, registered model, failures, and how to go on."""
    from rnnpipe.evaluation.leaderboard import GROUPS

    console = open_console()
    board, title = summary.leaderboard, f"{summary.task}, run {summary.run}"
    several = len({row.seed for row in board.rows}) > 1
    rows = [_cells(rank, row, board, several) for rank, row in enumerate(board.rows, start=1)]
    console.print()
    console.print(fitting_table(console, title, rows, LEFT_OUT))
    if several:
        console.print()
        console.print(fitting_table(console, "over the seeds", [_over_seeds(each) for each in board.variants], ()))
    console.print(f"params: weights; ms/img: one image; measured on {summary.conditions}", style="dim")
    if len(board.variants) > 1:
        console.print(f"group: {GROUPS}", style="dim")
    for failure in summary.failures:
        console.print(f"failed: {failure.label}: {failure.message}", style="red", markup=False)
        console.print(f"  fix: {failure.fix}", markup=False)
    if summary.verdict is not None:
        verdict = summary.verdict
        style = VERDICT_STYLES[verdict.decision]
        decision = "UNCHANGED" if verdict.champion_version == summary.model_uri else verdict.decision
        console.print(f"\n[{style}]{decision}[/] {summary.model_uri}: {escape(verdict.reason)}")
        if verdict.evidence:
            console.print(verdict.evidence, style="dim", markup=False)
        console.print(f"chosen: {summary.chosen_by}", style="dim")
        console.print(f"champion: {summary.champion or 'none yet'}")
    if summary.tracking_problem:
        console.print(f"\nnot tracked: {summary.tracking_problem}", style="red", markup=False)
    console.print("\nnext:")
    console.print(f"  {command('ui')}    the MLflow page (compare runs, model versions) and Prefect's")
    console.print(f"  {command('report')} {summary.run}    all of this run as one HTML page")
    if summary.model_uri:
        which = summary.model_name if summary.champion else summary.model_uri
        about = "the champion" if summary.champion else "this version; nothing is champion yet"
        console.print(f"  {command('predict')} {which} IMAGE    classify images with {about}")


def command(name: str) -> str:
    """Return a command as it can be typed here, whether or not the environment is activated."""
    called = Path(sys.argv[0])
    on_path = shutil.which("rnnpipe")
    if called.name != "rnnpipe" or (on_path and Path(on_path).resolve() == called.resolve()):
        return f"rnnpipe {name}"
    return f"{os.path.relpath(called)} {name}"


def _over_seeds(variant: "VariantSummary") -> dict[str, str]:
    interval = f"({100 * variant.accuracy_low:.2f} to {100 * variant.accuracy_high:.2f})"
    return {
        "group": str(variant.group),
        "variant": variant.label,
        "seeds": str(variant.seeds),
        "mean test % (95 % interval)": f"{100 * variant.accuracy:.2f} {interval}",
    }


def _cells(rank: int, row: "LeaderboardRow", board: "Leaderboard", several_seeds: bool) -> dict[str, str]:
    """Return heading and text of each cell."""
    validation = "-" if row.validation_accuracy is None else f"{100 * row.validation_accuracy:.2f}"
    interval = f"({100 * row.accuracy_low:.2f} to {100 * row.accuracy_high:.2f})"
    return {
        "": str(rank),
        **({"group": str(board.group_of(row.label))} if len(board.variants) > 1 else {}),
        "variant": row.name if several_seeds else row.label,
        "test % (95 % interval)": f"{100 * row.accuracy:.2f} {interval}",
        "val. %": validation,
        "params": f"{row.parameters:,}",
        "train s": f"{row.train_wall_s:.1f}",
        "img/s": f"{row.train_samples_per_s:,.0f}",
        "ms/img": f"{row.latency_ms_p50:.2f}",
    }


def print_demos(outcome: "DemosOutcome") -> None:
    """Print what each demo gave, and whether the cells agree."""
    console = open_console()
    for report in outcome.reports:
        console.print(f"\n[bold]{report['name']}[/]  {report['summary']}")
        for name, values in report["outputs"].items():
            for number, row in enumerate(values):
                label = f"{name} =" if number == 0 else ""
                console.print(f"  {label:5}{'  '.join(f'{value:+.4f}' for value in row)}")
    console.print("\n[bold]parity[/]  the same weights in each cell, float64: largest differences")
    for line in outcome.parity_lines:
        console.print(f"  {line}")
    if outcome.tracking_problem:
        console.print(f"\nnot tracked: {outcome.tracking_problem}", style="red", markup=False)
    else:
        count = len(outcome.run_ids)
        console.print(
            f"\ntracked in MLflow: experiment recurrence-demos, {count} runs; `{command('ui')}` opens it"
        )
