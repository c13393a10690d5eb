"""The main job: download → sequences → train each variant → evaluate → compare → register → promote."""

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import publish_leaderboard, publish_verdict
from flows.judging import judge_and_promote
from flows.session import open_session
from flows.stages import compare, evaluate_all, prepare_data, record_all, train_all
from flows.summary import RunSummary, summarize
from rnnpipe.config import (
    DataConfig,
    EvaluationConfig,
    ExecutionConfig,
    PipelineConfig,
    RegistryConfig,
    SequenceConfig,
    TrackingConfig,
    TrainingConfig,
    VariantConfig,
)

MAX_THREADS = 16  # of the flow: waiting for a training costs nothing, and device locks decide how many run
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
) -> RunSummary:
    """Train every variant on the images, compare them, register the best; promote it if it is better."""
    config = PipelineConfig(
        name=name, data=data, sequence=sequence, variants=variants, seeds=seeds, training=training,
        execution=execution, evaluation=evaluation, tracking=tracking, registry=registry,
    )  # fmt: skip
    with open_session() as session:
        dataset, sequences = prepare_data(session, config)
        trained = train_all(session, config, sequences)
        evaluate_all(session, config, sequences, trained)
        leaderboard = compare(session, config, trained)
        record_all(session, config, dataset, trained)
        publish_leaderboard(session, config, leaderboard)
        judgement = judge_and_promote(session, config, dataset, leaderboard, trained)
        publish_verdict(config, judgement)
        return summarize(session, config, leaderboard, judgement)
