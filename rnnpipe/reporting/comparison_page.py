"""The page of a comparison: both models, their figures, in what they differ, and the images that changed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnpipe.data.stages import DATASET_STAGE, TEST_IMAGES_FILE
from rnnpipe.evaluation.standing import Standing
from rnnpipe.files import scratch_folder
from rnnpipe.reporting.comparison import Outcome, SideBySide
from rnnpipe.reporting.page import render
from rnnpipe.reporting.pictures import Budget, Picture
from rnnpipe.reporting.run_page import PICTURES_BYTES
from rnnpipe.store import Store

STYLES = {Outcome.B_IS_BETTER: "PROMOTE", Outcome.A_IS_BETTER: "REJECT"}


@dataclass(frozen=True)
class ClassRow:
    """How many images of a class both recognise."""

    name: str
    total: int
    a: int
    b: int


def comparison_page(found: SideBySide, store: Store) -> str:
    """Return the page of a comparison as HTML; the changed images are shown if the store has the test images."""
    return render(
        "comparison.html",
        title=f"{found.a.name} and {found.b.name}",
        found=found,
        style=STYLES.get(found.outcome, "HOLD"),
        classes=_classes(found.a.standing, found.b.standing) if found.compared else [],
        pictures=_pictures(found, store) if found.compared else [],
    )


def _classes(a: Standing, b: Standing) -> list[ClassRow]:
    count = len(a.classes)
    total_K = np.bincount(a.labels_N, minlength=count)
    correct = [np.bincount(each.labels_N[each.correct_N], minlength=count) for each in (a, b)]
    return [
        ClassRow(name, int(total), int(of_a), int(of_b))
        for name, total, of_a, of_b in zip(a.classes, total_K, *correct, strict=True)
    ]


def _pictures(found: SideBySide, store: Store) -> list[Picture]:
    images = _test_images(store, found.a.images)
    if images is None:
        return []
    from rnnpipe.evaluation.changes import draw_changes  # brings matplotlib

    with scratch_folder() as folder:
        drawn = draw_changes(folder, images, found.b.standing, found.a.standing, said="A → B")
        captions = (f"Test images that {one} gets right and {other} gets wrong" for one, other in ("BA", "AB"))
        return [
            Picture(caption, picture.uri, picture.size)
            for caption, picture in zip(captions, Budget(PICTURES_BYTES).pictures(drawn), strict=True)
        ]


def _test_images(store: Store, digest: str) -> Path | None:
    """Return the file of a dataset's test images, if the store has it."""
    for folder, manifest in store.outputs():
        if folder.parent.name == DATASET_STAGE and manifest.get("digest") == digest:
            path = folder / TEST_IMAGES_FILE
            return path if path.exists() else None
    return None
