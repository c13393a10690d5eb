"""Stand-in until the retraining flow is there: the pipeline under its name and with its parameters."""

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.pipeline import DATA, EVALUATION, EXECUTION, REGISTRY, SEQUENCE, TRACKING, TRAINING, pipeline
from flows.running import MAX_THREADS
from flows.summary import RunSummary
from rnnpipe.config import (
    DataConfig,
    EvaluationConfig,
    ExecutionConfig,
    RegistryConfig,
    SequenceConfig,
    TrackingConfig,
    TrainingConfig,
    VariantConfig,
)


@flow(
    name="retrain",
    flow_run_name="retrain {data.name}-{sequence.name}",
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
    force: bool = False,
) -> RunSummary:
    """Do what the pipeline does."""
    return pipeline.fn(
        variants=variants, name=name, data=data, sequence=sequence, seeds=seeds, training=training,
        execution=execution, evaluation=evaluation, tracking=tracking, registry=registry,
    )  # fmt: skip
