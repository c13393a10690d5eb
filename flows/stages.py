"""The steps of the pipeline: each submits tasks for what isn't stored yet and gathers their references."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture, wait

from flows import tasks
from flows.session import Session
from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import dataset_recipe, sequences_recipe
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.evaluate import evaluation_recipe
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.references import Recipe, StageRef
from rnnpipe.tracking.views import save_comparison_view
from rnnpipe.training.job import training_recipe

SHOWN_PARAMS = ("variant", "seed", "sequence.name", "training.epochs", "training.learning_rate")


@dataclass
class Trained:
    """A variant with a seed on its way to the leaderboard."""

    label: str
    variant: int
    seed: int
    training: StageRef
    evaluation: StageRef | None = None
    run_id: str = ""

    @property
    def job(self) -> dict[str, int]:
        """The place of the variant in the config, and the seed."""
        return {"variant": self.variant, "seed": self.seed}


def submit_stage(
    session: Session, stage: Task[..., Any], name: str, recipe: Recipe, **arguments: Any
) -> PrefectFuture[Any]:
    """Submit a stage's task; where the store doesn't hold its output, Prefect's own cache is passed over."""
    plan = session.plan(name, recipe)
    return session.submit(stage.with_options(refresh_cache=not plan.present), recipe=recipe, **arguments)


def prepare_data(session: Session, config: PipelineConfig) -> tuple[StageRef, StageRef]:
    """Return the references of the images and of their sequences."""
    recipe = dataset_recipe(config.data)
    future = submit_stage(session, tasks.download_dataset, f"dataset {config.data.name}", recipe, config=config)
    dataset = StageRef(**future.result())
    return dataset, sequences_of(session, config, dataset)


def sequences_of(session: Session, config: PipelineConfig, dataset: StageRef) -> StageRef:
    """Return the reference of a dataset's sequences."""
    recipe, images = sequences_recipe(dataset, config.data, config.sequence), dataset.model_dump()
    name = f"sequences {config.sequence.name}"
    return StageRef(
        **submit_stage(session, tasks.to_sequences, name, recipe, dataset=images, config=config).result()
    )


def train_all(session: Session, config: PipelineConfig, sequences: StageRef) -> list[Trained]:
    """Train every variant with every seed, several at a time; one that fails stops no other.

    Those that failed stand in `session.failures`; if all do, the first error is raised.
    """
    futures: dict[str, tuple[PrefectFuture[Any], dict[str, int]]] = {}
    jobs = [(variant, seed) for variant in range(len(config.variants)) for seed in config.seeds]
    for variant, seed in jobs:
        label = f"{config.variants[variant].label} s{seed}"
        recipe = training_recipe(sequences, config, config.variants[variant], seed)
        job = {"variant": variant, "seed": seed}
        arguments = {"sequences": sequences.model_dump(), "config": config, "label": label, "job": job}
        future = submit_stage(session, tasks.train_variant, label, recipe, tags=session.tags(), **arguments)
        futures[label] = (future, job)
    wait([future for future, _ in futures.values()])
    trained = []
    for label, (future, job) in futures.items():
        outcome = future.result(raise_on_failure=False)
        if isinstance(outcome, BaseException):
            session.fail(label, outcome)
        else:
            trained.append(Trained(label, job["variant"], job["seed"], StageRef(**outcome)))
    if not trained:
        raise session.failures[0][1]
    return trained


def evaluate_all(session: Session, config: PipelineConfig, sequences: StageRef, trained: list[Trained]) -> None:
    """Measure each model on the test images, one after the other: nothing else runs while a clock does."""
    for each in trained:
        folder = str(session.store.resolve(each.training).path)
        each.evaluation = evaluate_model(session, config, sequences, each.label, (each.training.digest, folder))


def evaluate_model(
    session: Session, config: PipelineConfig, sequences: StageRef, label: str, model: tuple[str, str]
) -> StageRef:
    """Return the evaluation of a model, given as digest and folder, on the test images."""
    digest, folder = model
    recipe = evaluation_recipe(digest, sequences, config.evaluation, config.execution, subject=label)
    arguments = {"model_folder": folder, "sequences": sequences.model_dump(), "config": config, "label": label}
    return StageRef(**submit_stage(session, tasks.evaluate, f"test {label}", recipe, **arguments).result())


def compare(session: Session, config: PipelineConfig, trained: list[Trained]) -> Leaderboard:
    """Return the leaderboard of everything that was trained."""
    rows = []
    for each in trained:
        facts: Mapping[str, Any] = each.training.facts
        summary = TrainingSummary(
            label=config.variants[each.variant].label,
            variant=config.variants[each.variant].name,
            seed=each.seed,
            validation_accuracy=facts["validation_accuracy"],
            validation_loss=facts["validation_loss"],
            train_wall_s=facts["wall_s"],
            train_samples_per_s=facts["samples_per_s"],
        )
        session.conditions = (
            f"{facts['device']}, {facts['threads']} thread(s), {facts['precision']}, torch {facts['torch']};"
            f" latency: median of {config.evaluation.latency_repeats} single images"
        )
        rows.append(LeaderboardRow.of(summary, report_of(session, each.evaluation)))
    return Leaderboard.of(rows)


def report_of(session: Session, evaluation: StageRef | None) -> EvaluationReport:
    """Return the report of an evaluation in the store."""
    assert evaluation is not None
    return EvaluationReport.read(session.store.resolve(evaluation).path)


def record_all(session: Session, config: PipelineConfig, dataset: StageRef, trained: list[Trained]) -> None:
    """Make MLflow hold every run; where it can't be reached, that is said, and the next run makes up for it."""
    try:
        tracking = session.tracking(config)
        save_comparison_view(tracking, SHOWN_PARAMS)
        for each in trained:
            assert each.evaluation is not None
            each.run_id = session.submit(
                tasks.record, training=each.training.model_dump(), evaluation=each.evaluation.model_dump(),
                dataset=dataset.model_dump(), config=config, label=each.label, job=each.job,
                tags=session.tags(),
            ).result()  # fmt: skip
    except TrackingError as error:
        session.tracking_problem = str(error)
