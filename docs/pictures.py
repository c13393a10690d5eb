"""Draws docs/belief.png and docs/leaderboard.png from a finished run: python docs/pictures.py [CONFIG]."""

import argparse
import sys
from pathlib import Path

import numpy as np

from flows.why import forecast
from rnnpipe.config import PipelineConfig, load_config
from rnnpipe.data.stages import TEST_IMAGES_FILE
from rnnpipe.evaluation.belief import ReadImages, telling_places
from rnnpipe.evaluation.drawing import watched_images
from rnnpipe.evaluation.figures.pictures import belief_picture
from rnnpipe.evaluation.figures.scores import leaderboard_bars
from rnnpipe.evaluation.figures.style import save_figure
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.references import StageRef
from rnnpipe.store import Store

DOCS = Path(__file__).parent
IMAGES = 3  # one that the best net mistakes, and two that it is late to be right about
MAX_NETS = 4

Evaluations = dict[str, Path]  # folders by the name of the leaderboard's row


def evaluated(config: PipelineConfig, store: Store) -> tuple[Leaderboard, Evaluations, Path]:
    """Return the leaderboard of a config's run, the evaluations, and the file of the test images."""
    stages = {each.name: each.output for each in forecast(config, store)}

    def output(name: str) -> StageRef:
        if stages[name] is None:
            sys.exit(f"`{name}` isn't in the workspace as it would be now; run the config first")
        return stages[name]

    rows, evaluations = [], {}
    for variant in config.variants:
        for seed in config.seeds:
            facts = output(f"{variant.label} s{seed}").facts
            evaluation = store.resolve(output(f"test {variant.label} s{seed}")).path
            summary = TrainingSummary(
                label=variant.label, variant=variant.name, seed=seed,
                validation_accuracy=facts["validation_accuracy"], validation_loss=facts["validation_loss"],
                train_wall_s=facts["wall_s"], train_samples_per_s=facts["samples_per_s"],
            )  # fmt: skip
            rows.append(LeaderboardRow.of(summary, EvaluationReport.read(evaluation)))
            evaluations[rows[-1].name] = evaluation
    images = store.resolve(output(f"dataset {config.data.name}")).path / TEST_IMAGES_FILE
    return Leaderboard.of(rows), evaluations, images


def draw_belief(path: Path, leaderboard: Leaderboard, evaluations: Evaluations, test_images: Path) -> None:
    """Draw what the best net of each variant believes of a few test images."""
    best = {row.variant: row for row in reversed(leaderboard.rows)}
    shown = [row for row in leaderboard.rows if best[row.variant] == row][:MAX_NETS]
    read = {row.variant: ReadImages.read(evaluations[row.name]) for row in shown}
    first = read[shown[0].variant]
    places = telling_places(first.beliefs, first.labels_N, IMAGES)
    images_NHW = np.load(test_images, mmap_mode="r", allow_pickle=False)
    chosen_NHW = np.asarray(images_NHW[first.places_N[places]])
    classes = [each.name for each in EvaluationReport.read(evaluations[shown[0].name]).per_class]
    save_figure(belief_picture(watched_images(chosen_NHW, read, places), classes), path)


def main() -> None:
    """Draw the pictures of the run that a config describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", default="configs/mnist.yaml", type=Path)
    parser.add_argument("--to", default=DOCS, type=Path, help="folder of the pictures")
    given = parser.parse_args()
    leaderboard, evaluations, test_images = evaluated(load_config(given.config), Store.of_workspace())
    draw_belief(given.to / "belief.png", leaderboard, evaluations, test_images)
    save_figure(leaderboard_bars(leaderboard.rows), given.to / "leaderboard.png")


if __name__ == "__main__":
    main()
