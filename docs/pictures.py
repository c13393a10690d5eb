"""Draws docs/belief.png and docs/leaderboard.png from a finished run: python docs/pictures.py [CONFIG]."""

import argparse
import shutil
import sys
from pathlib import Path

from flows.why import forecast
from rnnpipe.config import PipelineConfig, load_config
from rnnpipe.data.stages import TEST_IMAGES_FILE
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.overview import Model, draw_overview
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.files import scratch_folder
from rnnpipe.store import Store
from rnnpipe.training.journal import epochs_of, read_journal

DOCS = Path(__file__).parent
PICTURES = ("belief.png", "leaderboard.png")


def models_of(config: PipelineConfig, store: Store) -> tuple[list[Model], Path]:
    """Return the models of a config's run, best first, and the file of its test images."""
    stages = {each.name: each.output for each in forecast(config, store)}
    models = {}
    for variant in config.variants:
        for seed in config.seeds:
            outputs = [stages[f"{before}{variant.label} s{seed}"] for before in ("", "test ")]
            if None in outputs:
                sys.exit(
                    f"{variant.label} with seed {seed} isn't in the workspace as it is now; run the config first"
                )
            training, evaluation = (store.resolve(output) for output in outputs)
            facts = training.ref.facts
            summary = TrainingSummary(
                label=variant.label, variant=variant.name, seed=seed,
                validation_accuracy=facts["validation_accuracy"], validation_loss=facts["validation_loss"],
                train_wall_s=facts["wall_s"], train_samples_per_s=facts["samples_per_s"],
            )  # fmt: skip
            row = LeaderboardRow.of(summary, EvaluationReport.read(evaluation.path))
            models[row.name] = Model(row, evaluation.path, epochs_of(read_journal(training.path)))
    dataset = stages[f"dataset {config.data.name}"]
    assert dataset is not None, "its sequences are there"
    best_first = Leaderboard.of(each.row for each in models.values()).rows
    return [models[row.name] for row in best_first], store.resolve(dataset).path / TEST_IMAGES_FILE


def main() -> None:
    """Draw the pictures of the run that a config describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", default="configs/mnist.yaml", type=Path)
    parser.add_argument("--to", default=DOCS, type=Path, help="folder of the pictures")
    given = parser.parse_args()
    models, test_images = models_of(load_config(given.config), Store.of_workspace())
    with scratch_folder() as folder:
        draw_overview(folder, models, test_images)
        for name in PICTURES:
            shutil.copyfile(folder / name, given.to / name)
            print(given.to / name)


if __name__ == "__main__":
    main()
