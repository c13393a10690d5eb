"""The figures of one evaluation: how good a net is, on what, how it reads, and what it bears."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnpipe.evaluation.belief import ReadImages, telling_places
from rnnpipe.evaluation.figures import curves, pictures, scores
from rnnpipe.evaluation.figures.pictures import Watched
from rnnpipe.evaluation.figures.style import save_figure
from rnnpipe.evaluation.metrics import Floats, Integers, surest_mistakes
from rnnpipe.evaluation.order import images_of, pixel_order
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.spec import ModelSpec


class Drawn(NamedTuple):
    """What figures need besides the report: answers, sequences of pixel values, and what was read along."""

    probabilities_NK: Floats
    labels_N: Integers
    x_NTI: Tensor
    read: ReadImages
    spec: ModelSpec


def draw(folder: Path, report: EvaluationReport, drawn: Drawn) -> None:
    """Write the figures of an evaluation into a folder."""
    save_figure(scores.confusion_matrix(report), folder / "confusion_matrix.png")
    save_figure(scores.per_class_bars(report), folder / "per_class.png")
    diagram = scores.reliability_diagram(drawn.probabilities_NK, drawn.labels_N)
    save_figure(diagram, folder / "reliability.png")
    label, classes = drawn.spec.variant.label, drawn.spec.classes
    if report.reading:
        save_figure(curves.accuracy_while_reading({label: report.reading}), folder / "accuracy_while_reading.png")
    if report.gradient_norms:
        save_figure(curves.gradient_reach({label: report.gradient_norms}), folder / "gradient_reach.png")
    if pixel_order(drawn.spec) is None:  # the images can't be had back from the sequences
        return
    save_figure(curves.robustness_curves({label: report.robustness}), folder / "robustness.png")
    wrong = surest_mistakes(drawn.probabilities_NK, drawn.labels_N)
    shown = wrong[: pictures.GRID_CELLS]
    answers = drawn.probabilities_NK[shown], drawn.labels_N[shown]
    mistakes = pictures.confident_mistakes(_images(drawn, shown), *answers, classes, len(wrong))
    save_figure(mistakes, folder / "mistakes.png")
    places = telling_places(drawn.read.beliefs, drawn.read.labels_N)
    watched = watched_images(_images(drawn, drawn.read.places_N[places]), {label: drawn.read}, places)
    save_figure(pictures.belief_picture(watched, classes), folder / "belief.png")


def watched_images(
    images_NHW: NDArray[np.uint8], read: Mapping[str, ReadImages], places: Sequence[int]
) -> list[Watched]:
    """Return images, which stand at these places among those that were read along, with what each net believed."""
    labels_N = next(iter(read.values())).labels_N
    return [
        Watched(image_HW, int(labels_N[place]), {label: each.beliefs.of(place) for label, each in read.items()})
        for image_HW, place in zip(images_NHW, places, strict=True)
    ]


def _images(drawn: Drawn, places: Integers) -> NDArray[np.uint8]:
    images_NHW = images_of(drawn.x_NTI[torch.from_numpy(places)], drawn.spec)
    assert images_NHW is not None, "whoever asks has looked"
    return images_NHW.numpy()
