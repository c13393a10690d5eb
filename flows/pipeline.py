"""The main job: download → sequences → train each variant → evaluate → compare → register → promote."""

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import publish
from flows.delivery import deliver
from flows.running import MAX_THREADS
from flows.session import open_session
from flows.stages import Outcome, compare, evaluate_all, prepare_data, train_all
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
        trained = evaluate_all(session, config, sequences, train_all(session, config, sequences))
        outcome = Outcome(config=config, dataset=dataset, trained=trained, tags=session.tags())
        leaderboard = compare(session, outcome)
        judgement = deliver(session, outcome)
        publish(session, outcome, leaderboard, judgement)
        return summarize(session, outcome, leaderboard, judgement)
