"""The steps of the pipeline: each submits tasks for what isn't stored yet and gathers their references."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import Task
from pydantic import Field

from flows import tasks
from flows.announcements import tell_of_download
from flows.cached import with_cache
from flows.running import Pending
from flows.session import Session
from rnnpipe.config import PipelineConfig
from rnnpipe.data.drift import DriftReport
from rnnpipe.data.stages import DATASET_STAGE, sequences_recipe
from rnnpipe.errors import DeviceError
from rnnpipe.evaluation.groups import by_label, summarise
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.evaluation.leaderboard import Leaderboard, LeaderboardRow, TrainingSummary
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.evaluation.standing import Standing
from rnnpipe.references import Recipe, Reference, StageRef
from rnnpipe.reporting.facts import Failure, Stage, Trained
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG
from rnnpipe.tracking.views import save_comparison_view
from rnnpipe.training.job import training_recipe

SHOWN_PARAMS = ("variant", "seed", "sequence.name", "training.epochs", "training.learning_rate")


class Outcome(Reference):
    """What a run has trained and measured, and MLflow is to hold; `tags` tie it together there.

    `basis` is everything that can change the verdict on it, `drift` how its images differ from the champion's,
    `stages` why each stage ran, `failures` the trainings that came to no model.
    """

    config: PipelineConfig
    dataset: StageRef
    trained: tuple[Trained, ...]
    tags: dict[str, str]
    basis: dict[str, Any] = Field(default_factory=dict)
    drift: DriftReport | None = None
    stages: tuple[Stage, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def run(self) -> str:
        """The run that it is of: another one may deliver it."""
        return self.tags[PIPELINE_RUN_TAG]


def submit_stage(session: Session, stage: Task[..., Any], name: str, recipe: Recipe, **arguments: Any) -> Pending:
    """Submit a stage's task; Prefect's own cache is passed over where it isn't what the store holds."""
    plan = session.plan(name, recipe)
    if session.in_prefect:
        stage = with_cache(stage, recipe, plan.output)
    return session.submit(stage, recipe=recipe, **arguments)


def store_images(session: Session, config: PipelineConfig, recipe: Recipe) -> StageRef:
    """Return the reference of the images, made from `recipe`; new ones are announced in Prefect."""
    known = session.store.digests(DATASET_STAGE)
    future = submit_stage(session, tasks.download_dataset, f"dataset {config.data.name}", recipe, config=config)
    dataset = StageRef(**future.result())
    if session.in_prefect and dataset.digest not in known:
        tell_of_download(config.data.name, dataset.digest)
    return dataset


def sequences_of(session: Session, config: PipelineConfig, dataset: StageRef) -> StageRef:
    """Return the reference of a dataset's sequences."""
    recipe, images = sequences_recipe(dataset, config.data, config.sequence), dataset.model_dump()
    name = f"sequences {config.sequence.name}"
    return StageRef(
        **submit_stage(session, tasks.to_sequences, name, recipe, dataset=images, config=config).result()
    )


def train_all(session: Session, config: PipelineConfig, sequences: StageRef) -> list[Trained]:
    """Train every variant with every seed, several at a time; one that fails stops no other.

    Those that failed stand in `session.failures`; if all do, the first error is raised. DeviceError ends them all.
    """
    pending: dict[str, tuple[Pending, dict[str, int]]] = {}
    jobs = [(variant, seed) for variant in range(len(config.variants)) for seed in config.seeds]
    if config.execution.engine == "ray":
        session.runner.widen(len(jobs))  # a cluster may do them all at once
    for variant, seed in jobs:
        label = f"{config.variants[variant].label} s{seed}"
        recipe = training_recipe(sequences, config, config.variants[variant], seed)
        job = {"variant": variant, "seed": seed}
        arguments = {"sequences": sequences.model_dump(), "config": config, "label": label, "job": job}
        training = submit_stage(
            session, tasks.train_variant, label, recipe, tags=session.tags(config), **arguments
        )
        pending[label] = (training, job)
    trained = []
    for label, (training, job) in pending.items():
        error = training.exception()
        if isinstance(error, DeviceError):  # it is the same device for all
            raise error
        if error:
            session.fail(label, error)
        else:
            trained.append(Trained(label=label, training=StageRef(**training.result()), **job))
    session.close_engine()
    session.wait_for_imports()
    if not trained:
        raise session.failures[0][1]
    return trained


def evaluate_all(
    session: Session, config: PipelineConfig, sequences: StageRef, trained: list[Trained]
) -> tuple[Trained, ...]:
    """Measure each model on the test images, one after the other: nothing else runs while a clock does."""
    measured = []
    for each in trained:
        model = (each.training.digest, str(session.store.resolve(each.training).path))
        evaluation = evaluate_model(session, config, sequences, each.label, model)
        measured.append(each.model_copy(update={"evaluation": evaluation}))
    return tuple(measured)


def evaluate_model(
    session: Session, config: PipelineConfig, sequences: StageRef, label: str, model: tuple[str, str]
) -> StageRef:
    """Return the evaluation of a model, given as digest and folder, on the test images."""
    digest, folder = model
    recipe = evaluation_recipe(digest, sequences, config.evaluation, config.execution, subject=label)
    arguments = {"model_folder": folder, "sequences": sequences.model_dump(), "config": config, "label": label}
    return StageRef(**submit_stage(session, tasks.evaluate, f"test {label}", recipe, **arguments).result())


def compare(session: Session, outcome: Outcome) -> Leaderboard:
    """Return the leaderboard of everything that was trained, with the variants over their seeds."""
    if outcome.run not in session.leaderboards:
        session.leaderboards[outcome.run] = _leaderboard(session, outcome)
    return session.leaderboards[outcome.run]


def _leaderboard(session: Session, outcome: Outcome) -> Leaderboard:
    rows = [_row(session, outcome.config, each) for each in outcome.trained]
    answers = [Standing.read(each.label, _folder(session, each.evaluation)).correct_N for each in outcome.trained]
    return Leaderboard.of(rows, summarise(by_label([row.label for row in rows], answers)))


def _row(session: Session, config: PipelineConfig, trained: Trained) -> LeaderboardRow:
    facts: Mapping[str, Any] = trained.training.facts
    summary = TrainingSummary(
        label=config.variants[trained.variant].label,
        variant=config.variants[trained.variant].name,
        seed=trained.seed,
        validation_accuracy=facts["validation_accuracy"],
        validation_loss=facts["validation_loss"],
        train_wall_s=facts["wall_s"],
        train_samples_per_s=facts["samples_per_s"],
    )
    return LeaderboardRow.of(summary, report_of(session, trained.evaluation))


def conditions_of(outcome: Outcome) -> str:
    """Return in words what was measured on what."""
    facts = outcome.trained[-1].training.facts
    threads, kernels = (
        " or ".join(sorted({str(each.training.facts.get(name)) for each in outcome.trained}))
        for name in ("threads", "kernels")
    )
    return (
        f"{facts['device']}, {threads} thread(s) a training, {kernels} kernels, {facts['precision']},"
        f" torch {facts['torch']};"
        f" latency: median of {outcome.config.evaluation.latency_repeats} single images"
    )


def report_of(session: Session, evaluation: StageRef | None) -> EvaluationReport:
    """Return the report of an evaluation in the store."""
    return EvaluationReport.read(_folder(session, evaluation))


def _folder(session: Session, evaluation: StageRef | None) -> Path:
    assert evaluation is not None
    return session.store.resolve(evaluation).path


def record_all(session: Session, outcome: Outcome) -> dict[str, str]:
    """Make MLflow hold every run, and return their ids by label; TrackingError where it can't be reached."""
    save_comparison_view(session.tracking(outcome.config), SHOWN_PARAMS)
    run_ids = {}
    for each in outcome.trained:
        assert each.evaluation is not None
        run_ids[each.label] = session.submit(
            tasks.record, training=each.training.model_dump(), evaluation=each.evaluation.model_dump(),
            dataset=outcome.dataset.model_dump(), config=outcome.config, label=each.label,
            job={"variant": each.variant, "seed": each.seed}, tags=outcome.tags,
        ).result()  # fmt: skip
    return run_ids
