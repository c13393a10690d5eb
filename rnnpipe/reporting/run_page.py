"""The page of a run: what came out, why, and how to make it again, in one file that can be sent to anybody."""

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from rnnpipe.catalogue import SEQUENCES, VARIANTS
from rnnpipe.data.stages import SAMPLES
from rnnpipe.evaluation.leaderboard import GROUPS, LeaderboardRow
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.references import StageRef
from rnnpipe.reporting.card import net_of
from rnnpipe.reporting.curves import Curves, learning_curves
from rnnpipe.reporting.facts import FIGURES, RunFacts, Trained, newest_facts, run_folder
from rnnpipe.reporting.page import as_yaml, render
from rnnpipe.reporting.pictures import Budget, Picture
from rnnpipe.store import Store
from rnnpipe.training.journal import epochs_of, read_journal

REPORT_NAME = "report.html"
MAX_BYTES = 5_000_000
PICTURES_BYTES = 4_300_000  # at most; of a run of thousands of trainings the text takes more than the rest
TEXT_BYTES = 50_000  # what stands around pictures


@dataclass(frozen=True)
class Line:
    """A row of the leaderboard, and where its interval lies on the scale of all (in percent of the width)."""

    row: LeaderboardRow
    is_chosen: bool
    left: float
    width: float
    dot: float


@dataclass(frozen=True)
class Gallery:
    """The figures of one model, of the data, or of the run."""

    title: str
    pictures: list[Picture]
    is_open: bool = False


def run_page(workspace: Path, facts: RunFacts, store: Store) -> str:
    """Return the page of a run as HTML, under 5 MB; what isn't in the store any more is left out."""
    variant = facts.config.variants[facts.best.variant]
    values: dict[str, Any] = {
        "title": f"{facts.config.task}, run {facts.run}",
        "facts": facts,
        "groups": GROUPS,
        "lines": _lines(facts),
        "several_seeds": len(facts.config.seeds) > 1,
        "best": _report(store, facts.best),
        "variant": VARIANTS[variant.name],
        "net": net_of(variant),
        "sequence": SEQUENCES[facts.config.sequence.name],
        "curves": _curves(store, facts),
        "config": as_yaml(facts.config.as_json()),
    }
    text = render("run.html", galleries=[], left_out=0, **values)
    budget = Budget(min(PICTURES_BYTES, MAX_BYTES - len(text.encode()) - TEXT_BYTES))
    galleries = _galleries(workspace, store, facts, budget)
    return render("run.html", galleries=galleries, left_out=budget.left_out, **values)


def _lines(facts: RunFacts) -> list[Line]:
    rows = facts.leaderboard.rows
    low, high = min(row.accuracy_low for row in rows), max(row.accuracy_high for row in rows)
    scale = 100 / ((high - low) or 1)
    return [
        Line(
            row=row,
            is_chosen=(row.label, row.seed) == (facts.chosen.row.label, facts.chosen.row.seed),
            left=round((row.accuracy_low - low) * scale, 2),
            width=round((row.accuracy_high - row.accuracy_low) * scale, 2),
            dot=round((row.accuracy - low) * scale, 2),
        )
        for row in rows
    ]


def _galleries(workspace: Path, store: Store, facts: RunFacts, budget: Budget) -> list[Gallery]:
    """Return the figures of the chosen model, the run, the data and the other models, while they fit."""
    best, row = facts.best, facts.chosen.row
    others = [each for each in _by_rank(facts) if each is not best]
    run = _run_figures(workspace, facts)
    data = _folder(store, facts.dataset)
    galleries = [
        Gallery(f"The registered model: {row.name}", budget.pictures(_figures(store, best)), is_open=True),
        Gallery("The run", budget.pictures(run), is_open=True),
        Gallery("The images", budget.pictures(data.glob(SAMPLES) if data else [])),
        *(Gallery(each.label, budget.pictures(_figures(store, each))) for each in others),
    ]
    return [gallery for gallery in galleries if gallery.pictures]


def _run_figures(workspace: Path, facts: RunFacts) -> list[Path]:
    """Return the figures of a run: its own, else those of one that had the same evaluations, and drew them."""
    measured = {each.evaluation.key for each in facts.trained if each.evaluation}
    for same in chain([facts], newest_facts(workspace)):
        found = sorted((run_folder(workspace, same.run) / FIGURES).glob("*.png"))
        if found and {each.evaluation.key for each in same.trained if each.evaluation} == measured:
            return found
    return []


def _by_rank(facts: RunFacts) -> list[Trained]:
    places = {(row.label, row.seed): place for place, row in enumerate(facts.leaderboard.rows)}
    variants = facts.config.variants
    return sorted(facts.trained, key=lambda each: places[variants[each.variant].label, each.seed])


def _figures(store: Store, trained: Trained) -> list[Path]:
    folder = _folder(store, trained.evaluation)
    return sorted((folder / FIGURES).glob("*.png")) if folder else []


def _report(store: Store, trained: Trained) -> EvaluationReport | None:
    folder = _folder(store, trained.evaluation)
    return EvaluationReport.read(folder) if folder else None


def _curves(store: Store, facts: RunFacts) -> Curves | None:
    histories: dict[str, Any] = {}
    for each in _by_rank(facts):
        folder = _folder(store, each.training)
        histories[each.label] = epochs_of(read_journal(folder)) if folder else []
    return learning_curves(histories)


def _folder(store: Store, ref: StageRef | None) -> Path | None:
    """Return the folder of an output; None where it isn't in the store any more, or not whole."""
    try:
        return store.resolve(ref).path if ref else None
    except FileNotFoundError:
        return None
