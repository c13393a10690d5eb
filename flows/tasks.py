"""The tasks: each resolves references, calls the library and returns a reference as JSON.

A stage's cache key in Prefect is its key in the store, so that a skipped stage shows as Cached.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefect import State, task
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from flows.cached import SERIALIZER, cache_key
from flows.engine import Work
from flows.progress import seconds_left
from flows.session import Pruned, Session, session
from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import TEST_IMAGES_FILE
from rnnpipe.data_job import make_dataset, make_sequences
from rnnpipe.errors import DownloadError
from rnnpipe.evaluation import job as evaluation_job
from rnnpipe.evaluation.leaderboard import LeaderboardRow
from rnnpipe.evaluation.promotion import Verdict
from rnnpipe.evaluation.standing import Standing
from rnnpipe.files import read_json
from rnnpipe.references import Recipe, StageRef
from rnnpipe.reporting.facts import FIGURES, run_folder
from rnnpipe.tracking import promotion
from rnnpipe.tracking.pictures import log_overview
from rnnpipe.tracking.record import Record
from rnnpipe.tracking.recording import LiveRun, record_run, run_spec
from rnnpipe.tracking.registry import Version
from rnnpipe.training.journal import Event, epochs_of, read_journal

Json = dict[str, Any]


def stage_key(context: TaskRunContext, parameters: Json) -> str:
    """Return the stage's key in the store."""
    return cache_key(parameters["recipe"])


def may_pass(task: object, task_run: object, state: Any) -> bool:
    """Say whether a failure may pass by itself: a mirror's. MLflow is told again by the library that tells it."""
    return isinstance(state.result(raise_on_failure=False), DownloadError)


STAGE: Json = {"cache_key_fn": stage_key, "persist_result": True, "result_serializer": SERIALIZER}


@contextmanager
def crashing_if_stopped(current: Session) -> Iterator[None]:
    """Raise KeyboardInterrupt where a job fails as the run is stopped: Prefect is to show a crash, no failure."""
    try:
        yield
    except BaseException as error:
        if current.launcher.is_closed:
            raise KeyboardInterrupt from error
        raise


@task(
    name="download", task_run_name="download {config.data.name}", **STAGE,
    retries=2, retry_delay_seconds=exponential_backoff(backoff_factor=2), retry_condition_fn=may_pass,
)  # fmt: skip
def download_dataset(recipe: Recipe, config: PipelineConfig) -> Json:
    """Bring the images into the store."""
    current, name = session(), f"dataset {config.data.name}"

    def build(folder: Path) -> Json:
        downloads, tell = current.workspace / "downloads", partial(current.progress.stage, name)
        return make_dataset(current.launcher, config, downloads, folder, tell=tell)

    with crashing_if_stopped(current):
        return current.store.ensure(recipe, build, current.run).ref.model_dump()


@task(name="sequences", task_run_name="sequences {config.sequence.name}", **STAGE)
def to_sequences(recipe: Recipe, dataset: Json, config: PipelineConfig) -> Json:
    """Turn images into sequences, split and scaled."""
    current = session()
    images = current.store.resolve(StageRef(**dataset))

    def build(folder: Path) -> Json:
        return make_sequences(current.launcher, config, images, folder)

    with crashing_if_stopped(current):
        return current.store.ensure(recipe, build, current.run).ref.model_dump()


@task(name="train", task_run_name="train {label}", **STAGE)
def train_variant(
    recipe: Recipe, sequences: Json, config: PipelineConfig, *, label: str, job: Json, tags: Json
) -> Json | State[Any]:
    """Train one variant with one seed where the config says, following its journal.

    Where a listener stops it, that is its state in Prefect: see `Session.listen`.
    """
    current, runs = session(), dict[Path, LiveRun]()
    work = Work(recipe, StageRef(**sequences), config, **job, run=current.run)
    epochs = config.training_of(config.variants[job["variant"]]).epochs

    def follow(training: Path, events: list[Event]) -> None:
        if events and training not in runs:
            spec = run_spec(recipe.key, training, name=label, params=config.params_of(**job), tags=tags)
            runs[training] = LiveRun(lambda: current.tracking_if_up(config), spec)
        for event in events:
            current.training(label, event, config)
        if events:
            current.trains(config, seconds_left(events, epochs))
            runs[training].take(events)

    try:
        with crashing_if_stopped(current):
            entry = current.engine(config).train(
                work, on_events=follow, on_busy=lambda held: current.waits(label, held, config)
            )
    except BaseException as error:
        is_stopped = current.launcher.is_closed or isinstance(error, Pruned)
        for run in runs.values():
            run.close("KILLED" if is_stopped else "FAILED")
        if isinstance(error, Pruned):
            return current.pruned(label, error)
        raise
    return entry.ref.model_dump()


@task(name="evaluate", task_run_name="evaluate {label}", **STAGE)
def evaluate(recipe: Recipe, model_folder: str, sequences: Json, config: PipelineConfig, *, label: str) -> Json:
    """Measure a model on the test images, in a process that holds the device."""
    current = session()
    folder = current.store.resolve(StageRef(**sequences)).path

    def build(target: Path) -> Json:
        evaluation_job.prepare(target, Path(model_folder), folder, config, run=current.run)
        current.launcher.run(
            evaluation_job.TARGET, target, on_busy=lambda held: current.waits(f"test {label}", held, config)
        )
        current.had_the_device = True
        facts: Json = read_json(target / evaluation_job.RESULT_FILE)
        return facts

    with crashing_if_stopped(current):
        return current.store.ensure(recipe, build, current.run).ref.model_dump()


@task(name="record", task_run_name="record {label}", persist_result=False)
def record(
    training: Json, evaluation: Json, dataset: Json, config: PipelineConfig, *, label: str, job: Json, tags: Json
) -> str:
    """Make MLflow hold all of a training and its evaluation; returns the id of the run there."""
    store = session().store
    trained = store.resolve(StageRef(**training))
    spec = run_spec(trained.ref.key, trained.path, name=label, params=config.params_of(**job), tags=tags)
    return record_run(
        session().tracking(config),
        spec,
        training=trained,
        evaluation=store.resolve(StageRef(**evaluation)),
        dataset=StageRef(**dataset),
    )


@task(name="register", task_run_name="register {config.model_name}", persist_result=False)
def register_model(
    training: Json, evaluation: Json, config: PipelineConfig, *, variant: int, run_id: str, tags: Json,
    description: str,
) -> Version:  # fmt: skip
    """Register the best model as a version, once it has been loaded back in a clean process and agreed."""
    store = session().store
    trained, evaluated = store.resolve(StageRef(**training)), store.resolve(StageRef(**evaluation))
    return promotion.register_trained(
        session().tracking(config), trained, evaluation=evaluated,
        record=Record.of(config, variant, training=trained, evaluation=evaluated),
        model_name=config.model_name, run_id=run_id, tags=tags, description=description,
    )  # fmt: skip


@task(name="promote", task_run_name="judge version {version.number}", persist_result=False)
def apply_verdict(
    version: Version, verdict: Verdict, config: PipelineConfig, *, run_id: str, card: str, dataset: Json,
    measured: list[Json], figures: Path,
) -> bool:  # fmt: skip
    """Write the verdict on the version and, if it says so, make it the champion; False if it has to be redone.

    `measured` are the evaluations of version and champion, if they were compared: what changed is drawn, and kept
    in the folder `figures`. `card` is the version's model card.
    """
    store, pictures = session().store, list[Path]()
    images = store.resolve(StageRef(**dataset)).path / TEST_IMAGES_FILE
    if measured and images.exists():  # data that are series have none
        from rnnpipe.evaluation.changes import draw_changes  # brings matplotlib

        candidate, champion = (Standing.read("", store.resolve(StageRef(**each)).path) for each in measured)
        pictures = draw_changes(figures, images, candidate, champion)
    return promotion.apply_verdict(
        session().tracking(config), version, verdict, run_id=run_id, pictures=pictures, card=card
    )


@task(name="overview", task_run_name="overview", persist_result=False)
def show_overview(models: list[Json], dataset: Json, config: PipelineConfig, *, run: str, run_id: str) -> None:
    """Draw all models of a run, best first, keep the figures with the run, and log them to one run in MLflow.

    Where MLflow has them already, nothing is done.
    """
    store = session().store
    trainings, evaluations = (
        [store.resolve(StageRef(**each[name])) for each in models] for name in ("training", "evaluation")
    )

    def draw() -> list[Path]:
        from rnnpipe.evaluation.overview import Model, draw_overview  # brings matplotlib

        drawn = [
            Model(LeaderboardRow(**each["row"]), evaluation.path, epochs_of(read_journal(training.path)))
            for each, training, evaluation in zip(models, trainings, evaluations, strict=True)
        ]
        folder = run_folder(session().workspace, run) / FIGURES
        return draw_overview(folder, drawn, store.resolve(StageRef(**dataset)).path / TEST_IMAGES_FILE)

    log_overview(session().tracking(config), run_id, [each.ref.digest for each in evaluations], draw)
