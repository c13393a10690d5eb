"""Pictures of the test images that a candidate has fixed, and of those that it has broken."""

from pathlib import Path

import numpy as np

from rnnpipe.evaluation.figures.pictures import changed_images
from rnnpipe.evaluation.figures.style import save_figure
from rnnpipe.evaluation.standing import Standing

FIXED_FILE, BROKEN_FILE = "fixed.png", "broken.png"


def draw_changes(
    folder: Path, images_path: Path, candidate: Standing, champion: Standing, said: str = "champion → candidate"
) -> list[Path]:
    """Draw fixed.png and broken.png into a folder, from a .npy file of the test images, and return their paths.

    `said` names the two whose answers stand below an image.
    """
    images_NHW = np.load(images_path, mmap_mode="r", allow_pickle=False)
    is_changed_N = candidate.correct_N != champion.correct_N
    drawn = []
    for name, standing in ((FIXED_FILE, candidate), (BROKEN_FILE, champion)):
        chosen = np.flatnonzero(is_changed_N & standing.correct_N)
        figure = changed_images(images_NHW, chosen, candidate, champion, title=Path(name).stem, said=said)
        save_figure(figure, folder / name)
        drawn.append(folder / name)
    return drawn
