"""The figures of a whole run: all its models side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnpipe.evaluation.belief import BELIEF_FILE, ReadImages, telling_places
from rnnpipe.evaluation.drawing import watched_images
from rnnpipe.evaluation.figures import curves, pictures, scores, style
from rnnpipe.evaluation.leaderboard import LeaderboardRow
from rnnpipe.evaluation.report import EvaluationReport

MAX_SIDE_BY_SIDE = 8  # heat maps in a row


@dataclass(frozen=True)
class Model:
    """A trained model: its row of the leaderboard, the folder of its evaluation, and its epochs."""

    row: LeaderboardRow
    evaluation: Path
    history: Sequence[Mapping[str, Any]]


def draw_overview(folder: Path, models: Sequence[Model], test_images: Path) -> list[Path]:
    """Draw all models, best first, into a folder, with a .npy file of the test images; return the paths."""
    names = [_name(each, models) for each in models]
    reports = {name: EvaluationReport.read(each.evaluation) for name, each in zip(names, models, strict=True)}
    drawn: dict[str, Figure] = {
        "leaderboard": scores.leaderboard_bars([each.row for each in models]),
        "learning_curves": curves.learning_curves(
            {name: each.history for name, each in zip(names, models, strict=True)}
        ),
        "accuracy_against_cost": scores.cost_against_accuracy([each.row for each in models]),
    }
    of_variants = _best_of_variants(models, names)
    best = {name: reports[name] for name in of_variants}
    if readings := {name: report.reading for name, report in best.items() if report.reading}:
        drawn["accuracy_while_reading"] = curves.accuracy_while_reading(readings)
    if norms := {name: report.gradient_norms for name, report in best.items() if report.gradient_norms}:
        drawn["gradient_reach"] = curves.gradient_reach(norms)
    if bearings := {name: report.robustness for name, report in best.items() if report.robustness}:
        drawn["robustness"] = curves.robustness_curves(bearings)
    read = {
        name: ReadImages.read(each.evaluation)
        for name, each in list(of_variants.items())[:MAX_SIDE_BY_SIDE]
        if (each.evaluation / BELIEF_FILE).exists()
    }
    if read and test_images.exists():  # data that are series have none
        classes = [each.name for each in next(iter(reports.values())).per_class]
        drawn["belief"] = _beliefs(read, test_images, classes)
    for name, figure in drawn.items():
        style.save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]


def _name(model: Model, models: Sequence[Model]) -> str:
    """Return a model's label; with its seed where others have the same label."""
    is_only = [each.row.label for each in models].count(model.row.label) == 1
    return model.row.label if is_only else model.row.name


def _best_of_variants(models: Sequence[Model], names: Sequence[str]) -> dict[str, Model]:
    """Return the first model of each label by its name: the models come best first."""
    found: dict[str, tuple[str, Model]] = {}
    for name, model in zip(names, models, strict=True):
        found.setdefault(model.row.label, (name, model))
    return dict(found.values())


def _beliefs(read: Mapping[str, ReadImages], test_images: Path, classes: Sequence[str]) -> Figure:
    """Draw what the models believe of those images that tell most of the best one."""
    best = next(iter(read.values()))
    places = telling_places(best.beliefs, best.labels_N)
    images_NHW = np.load(test_images, mmap_mode="r", allow_pickle=False)
    chosen_NHW = np.asarray(images_NHW[best.places_N[places]])
    return pictures.belief_picture(watched_images(chosen_NHW, read, places), classes)
