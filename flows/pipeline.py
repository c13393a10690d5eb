"""The main job: download → sequences → train each variant → evaluate → compare → register → promote."""

from prefect import State, flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.changes import basis_of
from flows.engine import check_engine
from flows.running import MAX_THREADS
from flows.session import open_session
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

DATA, SEQUENCE, TRAINING, EXECUTION = DataConfig(), SequenceConfig(), TrainingConfig(), ExecutionConfig()
EVALUATION, TRACKING, REGISTRY = EvaluationConfig(), TrackingConfig(), RegistryConfig()


@flow(
    name="rnnpipe",
    flow_run_name="{name} {data.name}-{sequence.name}",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_THREADS),  # type: ignore[arg-type]
)
def pipeline(
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
) -> RunSummary | State[RunSummary]:
    """Train every variant on the images, compare them, register the best; promote it if it is better.

    `sweep` is for the flow of that name, and changes nothing here.
    """
    config = PipelineConfig(
        name=name, data=data, sequence=sequence, variants=variants, seeds=seeds, training=training,
        execution=execution, evaluation=evaluation, tracking=tracking, registry=registry, sweep=sweep,
    )  # fmt: skip
    check_engine(config)
    with open_session() as session:
        images = dataset_recipe(config.data)
        dataset = store_images(session, config, images)
        return train_and_judge(session, config, dataset, basis=basis_of(config, images))
