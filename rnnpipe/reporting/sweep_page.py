"""The page of a sweep, and the figures on it: trials, what mattered, how the best one becomes a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.reporting.page import as_yaml, render
from rnnpipe.reporting.pictures import Budget
from rnnpipe.reporting.run_page import PICTURES_BYTES
from rnnpipe.sweeping.facts import FIGURES, SweepFacts, TrialFacts

if TYPE_CHECKING:
    from rnnpipe.evaluation.figures import sweeps

MAX_ROWS = 300


def draw_sweep(folder: Path, facts: SweepFacts) -> list[Path]:
    """Draw a sweep into a folder and return the paths: trials in their order, parallel coordinates, importance.

    Nothing is drawn while no trial has finished.
    """
    if facts.best is None:
        return []
    from rnnpipe.evaluation.figures import style, sweeps  # brings matplotlib

    points = [
        sweeps.Point(each.number, each.values, each.accuracy, each.state == "pruned")
        for each in facts.trials
        if each.accuracy is not None and each.state != "running"
    ]
    drawn = {
        "trials": sweeps.trial_course(points),
        "parallel_coordinates": sweeps.parallel_coordinates(points, _axes(facts)),
    }
    if facts.importance:
        drawn["importance"] = sweeps.importance_bars(facts.importance)
    for name, figure in drawn.items():
        style.save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]


def sweep_page(folder: Path, facts: SweepFacts) -> str:
    """Return the page of a sweep as HTML, with the figures that lie in its folder."""
    ranked = facts.ranked
    budget = Budget(PICTURES_BYTES)
    assert facts.config.sweep is not None
    return render(
        "sweep.html",
        title=f"{facts.config.task}, sweep {facts.name}",
        facts=facts,
        plan=facts.config.sweep,
        best=facts.best,
        interval=interval_of(facts, facts.best) if facts.best else None,
        rows=ranked[:MAX_ROWS],
        left_out=max(len(ranked) - MAX_ROWS, 0),
        pictures=budget.pictures(sorted((folder / FIGURES).glob("*.png"))),
        config=as_yaml(facts.config.as_json()),
        show=show_value,
    )


def interval_of(facts: SweepFacts, trial: TrialFacts) -> tuple[float, float] | None:
    """Return Wilson's 95 % interval of a trial's validation accuracy; None where it is the mean of seeds."""
    if trial.accuracy is None or len(facts.config.seeds) > 1:
        return None
    return wilson_interval(round(trial.accuracy * facts.validated), facts.validated)


def show_value(value: object) -> str:
    """Return a value of a field, short."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _axes(facts: SweepFacts) -> "list[sweeps.Axis]":
    from rnnpipe.evaluation.figures import sweeps

    assert facts.config.sweep is not None
    return [
        sweeps.Axis(path, None if each.choices is None else tuple(map(str, each.choices)), each.log)
        for path, each in facts.config.sweep.parameters.items()
    ]
