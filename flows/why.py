"""What a run of a config would do, stage by stage, and why; nothing is run, and no server is needed."""

from collections.abc import Iterator
from dataclasses import dataclass

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import SEQUENCES_STAGE, dataset_recipe, sequences_recipe
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import Store
from rnnpipe.training.job import training_recipe

TRAINING_STAGE, EVALUATION_STAGE = "trainings", "evaluations"


@dataclass(frozen=True)
class Forecast:
    """A stage as a run names it, whether it would be skipped or run and why, and its output if that is there."""

    name: str
    sentence: str
    output: StageRef | None = None


def forecast(config: PipelineConfig, store: Store) -> Iterator[Forecast]:
    """Yield each stage of a run; DataError where a folder of images can't be read."""
    dataset = _planned(store, f"dataset {config.data.name}", dataset_recipe(config.data))
    yield dataset
    name = f"sequences {config.sequence.name}"
    sequences = (
        _planned(store, name, sequences_recipe(dataset.output, config.data, config.sequence))
        if dataset.output
        else _later(store, name, SEQUENCES_STAGE, dataset)
    )
    yield sequences
    for variant in config.variants:
        for seed in config.seeds:
            label = f"{variant.label} s{seed}"
            training = (
                _planned(store, label, training_recipe(sequences.output, config, variant, seed))
                if sequences.output
                else _later(store, label, TRAINING_STAGE, sequences)
            )
            yield training
            yield _evaluation(config, store, sequences, training)


def _evaluation(config: PipelineConfig, store: Store, sequences: Forecast, training: Forecast) -> Forecast:
    name = f"test {training.name}"
    if sequences.output is None or training.output is None:
        return _later(store, name, EVALUATION_STAGE, training)
    recipe = evaluation_recipe(
        training.output.digest, sequences.output, config.evaluation, config.execution, subject=training.name
    )
    return _planned(store, name, recipe)


def _planned(store: Store, name: str, recipe: Recipe) -> Forecast:
    plan = store.plan(recipe)
    return Forecast(name, plan.forecast, plan.output)


def _later(store: Store, name: str, stage: str, upstream: Forecast) -> Forecast:
    """Return the forecast of a stage whose input isn't there: the same input again would make it skipped."""
    unless = ", unless that comes out as before" if store.holds_any(stage) else ""
    return Forecast(name, f"would run: after {upstream.name}{unless}")
