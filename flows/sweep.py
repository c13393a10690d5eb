"""The sweep: trials of a config with other values, chosen on validation images, until the best one is known."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from prefect import State, flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, ConfigDict

from flows.engine import check_engine
from flows.pipeline import DATA, EVALUATION, EXECUTION, REGISTRY, SEQUENCE, TRACKING, TRAINING
from flows.running import MAX_THREADS
from flows.session import Session, open_session
from flows.stages import sequences_of, store_images
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
from rnnpipe.config.trials import best_config, check_sweep, overrides_of, trial_config
from rnnpipe.credentials import mask_credentials
from rnnpipe.data.stages import dataset_recipe
from rnnpipe.errors import TrackingError
from rnnpipe.files import write_bytes
from rnnpipe.reporting.sweep_page import draw_sweep, sweep_page
from rnnpipe.store import workspace_root
from rnnpipe.sweeping.facts import BEST_FILE, FIGURES, PAGE_FILE, SweepFacts, keep_sweep, sweep_folder, sweep_name
from rnnpipe.sweeping.storage import check_storage
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG
from rnnpipe.tracking.sweeps import record_sweep
from rnnpipe.training.job import training_recipe

if TYPE_CHECKING:
    from flows.trials import Trials


class SweepSummary(BaseModel):
    """What a sweep ends with, as the command line shows it; `folder` has its page, figures and best config."""

    model_config = ConfigDict(frozen=True)

    facts: SweepFacts
    folder: Path
    overrides: tuple[str, ...] = ()
    tracking_uri: str = ""
    tracking_problem: str = ""


@flow(
    name="sweep",
    flow_run_name="sweep {name} {data.name}-{sequence.name}",
    task_runner=ThreadPoolTaskRunner(max_workers=MAX_THREADS),  # type: ignore[arg-type]
)
def sweep(
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
) -> SweepSummary | State[SweepSummary]:
    """Try what the config's `sweep` says, and find the values with the best validation accuracy.

    Test images are never looked at. Trials that have ended are not run again, those that were killed go on.
    """
    config = PipelineConfig(
        name=name, data=data, sequence=sequence, variants=variants, seeds=seeds, training=training,
        execution=execution, evaluation=evaluation, tracking=tracking, registry=registry, sweep=sweep,
    )  # fmt: skip
    check_sweep(config)
    check_engine(config)
    check_storage(workspace_root())
    from flows.trials import Trials  # brings Optuna
    from rnnpipe.sweeping.study import open_study

    with open_session() as session:
        dataset = store_images(session, config, dataset_recipe(config.data))
        sequences = sequences_of(session, config, dataset)
        first = training_recipe(sequences, config, config.variants[0], config.seeds[0])
        with open_study(session.workspace, sweep_name(config, first), config) as study:
            asked = config.sweep.trials if config.sweep else 0
            session.progress.stage(f"sweep {study.name}", f"{study.finished} of {asked} trials have ended")
            trials = Trials(session, config, study, dataset=dataset, sequences=sequences)
            trials.run()
            facts = SweepFacts(
                name=study.name, config=config, validated=sequences.facts["validation"], trials=study.trials(),
                importance=study.importance(),
            )  # fmt: skip
            keep_all(session.workspace, facts)
            return _told(session, _track(session, trials, facts))


def keep_all(workspace: Path, facts: SweepFacts) -> Path:
    """Write facts, figures, page and the best trial's config to the sweep's folder, and return that."""
    folder = sweep_folder(workspace, facts.name)
    keep_sweep(workspace, facts)
    draw_sweep(folder / FIGURES, facts)
    write_bytes(folder / PAGE_FILE, sweep_page(folder, facts).encode())
    if (best := facts.best) is not None:
        lines = [
            f"# trial {best.number} of the sweep {facts.name}: validation accuracy {best.accuracy:.4f}",
            yaml.safe_dump(best_config(facts.config, best.values), sort_keys=False, allow_unicode=True),
        ]
        write_bytes(folder / BEST_FILE, "\n".join(lines).encode())
    return folder


def _track(session: Session, trials: "Trials", facts: SweepFacts) -> SweepSummary:
    """Make MLflow hold the sweep with all its trials; where it can't be reached, the summary says so."""
    folder, problem, uri = sweep_folder(session.workspace, facts.name), "", ""
    config = trial_config(facts.config, {})
    tags = {name: value for name, value in session.tags(config).items() if name != PIPELINE_RUN_TAG}
    try:
        trials.record_all()
        tracking = session.tracking(config)
        record_sweep(tracking, facts, folder, tags)
        uri = mask_credentials(tracking.uri)
    except TrackingError as error:
        problem = str(error)
    overrides = overrides_of(facts.best.values) if facts.best else []
    return SweepSummary(
        facts=facts, folder=folder, overrides=tuple(overrides), tracking_uri=uri, tracking_problem=problem
    )


def _told(session: Session, summary: SweepSummary) -> SweepSummary | State[SweepSummary]:
    """Return a summary, shown in Prefect too; where something is missing, there as a failed state."""
    facts = summary.facts
    if not session.in_prefect:
        return summary
    rows = [
        {"trial": each.number, "state": each.state, "validation accuracy": each.accuracy, **each.values}
        for each in facts.ranked
    ]
    create_table_artifact(key=f"sweep-{facts.config.task}", table=rows, description=facts.counts)
    best = facts.best
    told = "No trial has finished" if best is None else f"Best: trial {best.number}, {best.accuracy:.4f}"
    text = f"# {told}\n\n{facts.counts}. `{summary.folder / PAGE_FILE}` tells all of it.\n"
    create_markdown_artifact(key=f"best-of-sweep-{facts.config.task}", markdown=text)
    problems = [*(["no trial has finished"] if best is None else []), *filter(None, [summary.tracking_problem])]
    return Failed(name="Incomplete", message="; ".join(problems), data=summary) if problems else summary
