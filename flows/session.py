"""What the tasks of one flow run share in this process: store, fork server, progress display, MLflow."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect import State, Task
from prefect.runtime import flow_run
from prefect.states import Cancelled

from flows.ahead import take_launcher
from flows.engine import Engine, open_engine
from flows.ghosts import close_dead_runs, hold_run
from flows.progress import LogProgress, Progress
from flows.running import DirectRunner, Pending, PrefectRunner, Runner
from rnnpipe.config import PipelineConfig
from rnnpipe.config.execution import NO_KERNELS
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import DeviceError, RnnpipeError, TrackingError, explained
from rnnpipe.evaluation.leaderboard import Leaderboard
from rnnpipe.explanation import Plan
from rnnpipe.references import Recipe
from rnnpipe.reporting.facts import Stage
from rnnpipe.store import Store, workspace_root
from rnnpipe.tracking import stranger
from rnnpipe.tracking.addresses import resolve_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.runs import CONFIG_NAME_TAG, PIPELINE_RUN_TAG, close_ghosts
from rnnpipe.training.journal import Event

logger = logging.getLogger("rnnpipe.session")

AHEAD_S = 30.0  # more than the imports take, on a slow machine

Listener = Callable[[Event], None]


class Pruned(RnnpipeError):  # noqa: N818 (nothing is wrong)
    """What a listener raises to stop a training that promises too little; its work so far is kept."""


class Session:
    """The store, the processes and the MLflow of a flow run, and what has happened so far."""

    def __init__(self, progress: Progress) -> None:
        self.in_prefect = flow_run.id is not None
        self.flow_run_id = str(flow_run.id or uuid4())
        self.run = self.flow_run_id[:8]
        self.runner: Runner = PrefectRunner() if self.in_prefect else DirectRunner()
        self.progress = progress
        self.workspace: Path = workspace_root()
        self.store = Store.of_workspace()
        self.launcher = take_launcher()
        self.failures: list[tuple[str, BaseException]] = []
        self.stages: list[Stage] = []
        self.leaderboards: dict[str, Leaderboard] = {}  # by the outcome's run
        self.tracking_problem = ""
        self.had_the_device = False
        self._listeners: dict[str, Listener] = {}
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self._importing: threading.Thread | None = None
        self._engine: Engine | RnnpipeError | None = None
        self._trackings: dict[tuple[str, str], Tracking | TrackingError] = {}
        self._lock, self._opening = threading.Lock(), threading.Lock()

    def plan(self, name: str, recipe: Recipe) -> Plan:
        """Say whether a stage has to run, and tell the display why."""
        plan = self.store.plan(recipe)
        if not plan.present:
            self.launcher.warm_up()  # sooner or later something is trained or measured
        self.stages.append(Stage(name=name, sentence=plan.sentence))
        self.progress.stage(name, plan.sentence)
        return plan

    def submit(self, task: Task[..., Any], **arguments: Any) -> Pending:
        """Run a task beside the others."""
        return self.runner.submit(task, arguments)

    def engine(self, config: PipelineConfig) -> Engine:
        """Return what does the trainings, opened at the first call; what stops that is raised at every call."""
        with self._opening:
            if self._engine is None:
                try:
                    self._engine = open_engine(config, self.launcher, self.workspace)
                except RnnpipeError as error:
                    self._engine = error
            engine = self._engine
        if isinstance(engine, RnnpipeError):
            raise engine
        return engine

    def close_engine(self) -> None:
        """Let go of what trainings run on: what is measured next wants a quiet machine."""
        with self._opening:
            engine, self._engine = self._engine, None
        if engine is not None and not isinstance(engine, RnnpipeError):
            engine.close()

    def fail(self, label: str, error: BaseException) -> None:
        """Remember that a training failed; the others go on."""
        error = explained(error)
        self.failures.append((label, error))
        message = error.message if isinstance(error, RnnpipeError) else repr(error)
        self.progress.stage(label, f"failed: {message}")

    def waits(self, name: str, held: str, config: PipelineConfig) -> None:
        """Tell who holds the device that a stage waits for; DeviceError where the config says not to wait.

        A run that has had the device gives up no more: what it has begun is finished. A run's trainings all wait
        for the same, so that is told once.
        """
        if config.execution.when_busy == "give-up" and not self.had_the_device:
            fix = "run it again later, or let it wait: --set execution.when_busy=wait"
            raise DeviceError(f"{name} would have to wait for {held}", fix)
        if self._is_news(held):
            logger.info("%s waits for %s", name, held)
            self.progress.waits(name, held)

    def listen(self, label: str, listener: Listener) -> None:
        """Let `listener` hear the events of a training's journal; what it raises, such as Pruned, stops it."""
        self._listeners[label] = listener

    def pruned(self, label: str, pruned: Pruned) -> State[Any]:
        """Tell that a training was stopped on purpose; return what Prefect is to show. Outside of it, raise."""
        self.progress.stage(label, f"pruned: {pruned.message}")
        if not self.in_prefect:
            raise pruned
        return Cancelled(name="Pruned", message=pruned.message)

    def training(self, label: str, event: Event, config: PipelineConfig) -> None:
        """Tell an event of a training's journal; also why it has so many threads, and that kernels are missing."""
        self.progress.training(label, event)
        if event["event"] == "start":
            reasons = [event["threads_reason"]] * (config.execution.threads == "auto")
            kernels = event.get("kernels_reason", "")
            reasons += [f"kernels: {kernels}"] * (NO_KERNELS in kernels)
            for reason in filter(self._is_news, reasons):
                self.progress.stage(label, reason)
        if (listener := self._listeners.get(label)) is not None:
            listener(event)

    def _is_news(self, sentence: str) -> bool:
        with self._telling:
            is_news = sentence not in self._told
            self._told.add(sentence)
        return is_news

    def trains(self, config: PipelineConfig, left_s: float) -> None:
        """Hear that a training makes steps: half a minute before its end, what comes after it is imported."""
        with self._telling:  # not the lock that whoever opens MLflow holds: it may be slow
            self.had_the_device = True
            if left_s <= AHEAD_S and self._importing is None:
                self._importing = threading.Thread(
                    target=_prepare, args=(config.registry.register_model,), name="imports", daemon=True
                )
                self._importing.start()

    def wait_for_imports(self) -> None:
        """Wait until nothing is imported any more: what is measured next wants a quiet machine."""
        if self._importing is not None:
            self._importing.join()

    def tags(self, config: PipelineConfig | None = None) -> dict[str, str]:
        """Return the tags that tie everything of this flow run together in MLflow, and those a config sets."""
        own = {**config.tracking.tags, CONFIG_NAME_TAG: config.name} if config else {}
        tags = {**own, PIPELINE_RUN_TAG: self.run}
        if not self.in_prefect:
            return tags
        tags["prefect.flow_run_id"] = self.flow_run_id
        if url := mask_credentials(flow_run.ui_url or ""):
            tags |= {"prefect.flow_run_url": url, "mlflow.note.content": f"[Flow run in Prefect]({url})"}
        return tags

    def tracking(self, config: PipelineConfig) -> Tracking:
        """Return a config's MLflow, opened at the first call; TrackingError at every call if it can't be."""
        uri = resolve_uri(config.tracking.uri, self.workspace)
        with self._lock:
            opened = self._trackings.get((uri, config.experiment))
            if opened is None:
                opened = self._trackings[uri, config.experiment] = self._open_tracking(uri, config.experiment)
        if isinstance(opened, TrackingError):
            raise opened
        return opened

    def _open_tracking(self, uri: str, experiment: str) -> Tracking | TrackingError:
        try:
            tracking = open_tracking(uri, experiment, self.workspace)
            close_ghosts(tracking)
        except TrackingError as error:
            return error
        return tracking

    def tracking_if_up(self, config: PipelineConfig) -> Tracking | None:
        """Return the run's MLflow, or None, said aloud, where it can't be reached: training goes on without."""
        try:
            return self.tracking(config)
        except TrackingError as error:
            logger.warning("%s; the run goes on, and MLflow gets it later", error.message)
            return None


def _prepare(does_register: bool) -> None:
    import rnnpipe.evaluation.overview  # noqa: F401 (matplotlib, for the figures of a run)

    if does_register:
        from rnnpipe.tracking.export import prepare_export  # brings torch

        prepare_export()


_current: Session | None = None
_progress: Progress = LogProgress()


def show_progress_on(progress: Progress) -> None:
    """Let the runs of this process tell their progress to `progress`."""
    global _progress  # noqa: PLW0603 (a terminal belongs to the process)
    _progress = progress


@contextlib.contextmanager
def open_session() -> Iterator[Session]:
    """Open the session that this run's tasks find with `session()`; its processes end with the block."""
    global _current  # noqa: PLW0603 (tasks run in threads of this process and get references only)
    logging.getLogger("rnnpipe").setLevel(logging.INFO)  # what the run's log in Prefect takes
    _current = opened = Session(_progress)
    try:
        if opened.in_prefect:
            close_dead_runs(opened.workspace)
            hold_run(opened.workspace, opened.flow_run_id, flow_run.run_count)
        yield opened
    finally:
        _current = None
        opened.launcher.close()
        opened.close_engine()
        stranger.send_away()
        opened.wait_for_imports()  # cut off in the middle, torch's import would end the process as a crash
        stranger.forget()
        opened.runner.close()


def session() -> Session:
    """Return the open session."""
    assert _current is not None, "tasks run inside open_session"
    return _current
