"""The scheduled job: trains again if the images, the config or the code have changed, and says why if not."""

from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict

from flows.changes import basis_of, what_changed
from flows.drift import check_drift
from flows.engine import check_engine
from flows.pipeline import DATA, EVALUATION, EXECUTION, REGISTRY, SEQUENCE, TRACKING, TRAINING
from flows.running import MAX_THREADS
from flows.session import Session, open_session
from flows.stages import store_images
from flows.summary import RunSummary
from flows.training import train_and_judge
from rnnpipe.config import (
    DataConfig,
    EvaluationConfig,
    ExecutionConfig,
    PipelineConfig,
    RegistryConfig,
    SequenceConfig,
    SweepConfig,
    TrackingConfig,
    TrainingConfig,
    VariantConfig,
)
from rnnpipe.data.stages import dataset_recipe


class Skip(BaseModel):
    """Why nothing was trained, and the version that is as a training now would make it."""

    model_config = ConfigDict(frozen=True)

    reason: str
    version: str


@flow(
    name="retrain",
    flow_run_name="retrain {name} {data.name}-{sequence.name}",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_THREADS),  # type: ignore[arg-type]
)
def retrain(
    *,
    variants: tuple[VariantConfig, ...],
    name: str = "pipeline",
    data: DataConfig = DATA,
    sequence: SequenceConfig = SEQUENCE,
    seeds: tuple[int, ...] = (0,),
    training: TrainingConfig = TRAINING,
    execution: ExecutionConfig = EXECUTION,
    evaluation: EvaluationConfig = EVALUATION,
    tracking: TrackingConfig = TRACKING,
    registry: RegistryConfig = REGISTRY,
    sweep: SweepConfig | None = None,
    force: bool = False,
) -> RunSummary | State[RunSummary] | Skip | State[Skip]:
    """Do what the pipeline does if anything has changed since the last verdict, or if `force` says so.

    `sweep` is for the flow of that name, and changes nothing here.
    """
    config = PipelineConfig(
        name=name, data=data, sequence=sequence, variants=variants, seeds=seeds, training=training,
        execution=execution, evaluation=evaluation, tracking=tracking, registry=registry, sweep=sweep,
    )  # fmt: skip
    check_engine(config)
    with open_session() as session:
        images = dataset_recipe(config.data)
        basis = basis_of(config, images)
        change = what_changed(session, config, basis)
        if change.same and not force:
            return _skip(session, config, Skip(reason=change.reason, version=change.same.uri))
        session.progress.stage(config.task, f"runs: {'forced; ' if force else ''}{change.reason}")
        dataset = store_images(session, config, images)
        drift = check_drift(session, config, dataset)
        return train_and_judge(session, config, dataset, basis=basis, drift=drift)


def _skip(session: Session, config: PipelineConfig, skip: Skip) -> Skip | State[Skip]:
    """Tell that nothing is trained, in Prefect as a state of its own name that counts as completed."""
    session.progress.stage(config.task, f"skipped: {skip.reason}")
    if not session.in_prefect:
        return skip
    create_markdown_artifact(key=f"retrain-{config.task}", markdown=f"# Skipped\n\n{skip.reason}.\n")
    return Completed(name="Skipped", message=skip.reason, data=skip)
