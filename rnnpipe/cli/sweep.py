"""sweep: the values of a config's fields that do best on validation images."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnpipe.cli.words import OVERRIDES

if TYPE_CHECKING:
    from flows.sweep import SweepSummary
    from rnnpipe.sweeping.facts import SweepFacts, TrialFacts

EXIT_FAILED_TRAINING, EXIT_NOT_TRACKED = 4, 5
SHOWN_TRIALS = 10


@click.command(short_help="Try values of a config's fields; find the best on validation images.")
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
def sweep(config: Path, overrides: tuple[str, ...]) -> int:
    """Try what the section `sweep` of CONFIG says, and tell which values have the best validation accuracy.

    Each trial is a training of its own, tracked in MLflow; one that promises too little is stopped. Test images
    are never looked at. The same command goes on where a sweep was killed, and with more trials where it was
    finished: --set sweep.trials=50. They are kept in the workspace, or in RNNPIPE_SWEEP_STORAGE (a Postgres URL).
    """
    from rnnpipe.config import load_config

    loaded = load_config(config, overrides)
    from rnnpipe.cli.progress import terminal_progress
    from rnnpipe.cli.run import quieten_prefect
    from rnnpipe.config.trials import check_sweep
    from rnnpipe.store import workspace_root
    from rnnpipe.sweeping.storage import check_storage

    check_sweep(loaded)
    check_storage(workspace_root())
    with terminal_progress(None) as progress:
        quieten_prefect()
        from flows.run import run_flow

        summary: SweepSummary = run_flow("flows.sweep:sweep", progress, loaded)
    command = shlex.join(["run", str(config), *(part for each in overrides for part in ("--set", each))])
    _print(summary, command)
    if summary.facts.best is None:
        return EXIT_FAILED_TRAINING
    return EXIT_NOT_TRACKED if summary.tracking_problem else 0


def _print(summary: "SweepSummary", run: str) -> None:
    """Print the best trials, the best of them, and how it becomes a registered model; `run` trains the config."""
    from rnnpipe.cli.outcome import command
    from rnnpipe.cli.tables import fitting_table, open_console
    from rnnpipe.sweeping.facts import BEST_FILE, PAGE_FILE

    console, facts = open_console(), summary.facts
    names = _short_names(facts.paths)
    rows = [_cells(each, names) for each in facts.ranked[:SHOWN_TRIALS]]
    console.print()
    console.print(fitting_table(console, f"{facts.config.task}, sweep {facts.name}", rows, ("epochs", "state")))
    more = len(facts.trials) - len(rows)
    console.print(f"{facts.counts}{f'; {more} more on the page' if more > 0 else ''}", style="dim", markup=False)
    for each in [each for each in facts.trials if each.error][:SHOWN_TRIALS]:
        console.print(f"failed: trial {each.number}: {each.error}", style="red", markup=False)
    if facts.best is None:
        console.print("\nno trial has finished, so none is the best", style="red")
    else:
        console.print(f"\n[bold green]BEST[/] trial {facts.best.number}: {_accuracy(facts, facts.best)}")
        console.print(
            f"chosen as the best of {len(facts.trials)} on these images; the test images, which no trial has seen,"
            " tell how good it is",
            style="dim",
        )
    if summary.tracking_problem:
        console.print(f"\nnot tracked: {summary.tracking_problem}", style="red", markup=False)
        console.print("  the same command again sends it", markup=False)
    console.print("\nnext:")
    folder = _short(summary.folder)
    console.print(f"  {folder / PAGE_FILE}    all of this sweep as one HTML page", markup=False)
    if facts.best is not None:
        best = shlex.quote(str(folder / BEST_FILE))
        told = "measures it on the test images, registers it, judges it"
        console.print(f"  {command('run')} {best}    {told}", markup=False)
        values = " ".join(f"--set {shlex.quote(each)}" for each in summary.overrides)
        console.print(f"  {command(run)} {values}    the same", markup=False, soft_wrap=True)


def _short(folder: Path) -> Path:
    """Return a folder as it is named from here, where it lies below."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _accuracy(facts: "SweepFacts", best: "TrialFacts") -> str:
    from rnnpipe.reporting.sweep_page import interval_of

    interval = interval_of(facts, best)
    told = f"validation accuracy {100 * (best.accuracy or 0):.2f} %"
    if interval is None:
        return f"{told}, the mean over {len(facts.config.seeds)} seeds"
    low, high = (f"{100 * limit:.2f}" for limit in interval)
    return f"{told} of {facts.validated:,} images (95 % interval {low} to {high})"


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return for each field the last part of its path, or all of it where another one ends alike."""
    last = [path.rpartition(".")[2] for path in paths]
    return {path: name if last.count(name) == 1 else path for path, name in zip(paths, last, strict=True)}


def _cells(trial: "TrialFacts", names: Mapping[str, str]) -> dict[str, str]:
    from rnnpipe.reporting.sweep_page import show_value

    values = {name: show_value(trial.values[path]) if path in trial.values else "" for path, name in names.items()}
    accuracy = "" if trial.accuracy is None else f"{100 * trial.accuracy:.2f}"
    cells = {"trial": str(trial.number), "state": trial.state, "val. %": accuracy, "epochs": str(trial.epochs)}
    return {**cells, **values}
