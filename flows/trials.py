"""The trials of a sweep: each is trained as the pipeline trains, watched by epoch, and told to Optuna."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from prefect import task

from flows import tasks
from flows.running import Pending
from flows.session import Pruned, Session, session
from flows.stages import sequences_of, submit_stage
from flows.tasks import Json
from flows.why import TRAINING_STAGE
from rnnpipe.config import PipelineConfig
from rnnpipe.config.trials import overrides_of, trial_config
from rnnpipe.errors import ClusterError, DataError, DeviceError, RnnpipeError, StorageError, explained
from rnnpipe.references import Recipe, StageRef
from rnnpipe.sweeping.facts import TrialFacts
from rnnpipe.sweeping.study import Study, Trial
from rnnpipe.tracking import sweeps
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import Event, epochs_of, read_journal

POLL_S = 0.1
OF_ALL = (DeviceError, StorageError, DataError, ClusterError)  # the next trial would meet it too


class Watch:
    """Hears the epochs of a trial's trainings, one a seed; stops them all where the trial promises too little."""

    def __init__(self, study: Study, number: int, config: PipelineConfig) -> None:
        self._study, self._number, self._seeds = study, number, len(config.seeds)
        self._last = config.training_of(config.variants[0]).epochs
        self._accuracies: dict[int, dict[str, float]] = {}
        self._lock = threading.Lock()
        self.epochs, self.reason = 0, ""

    def hear(self, label: str, event: Event) -> None:
        """Take an event of a training; raise Pruned where the trial is to be stopped.

        After the last epoch nothing is left to be saved.
        """
        with self._lock:
            if event["event"] == "epoch" and self._takes(label, event) and self.epochs < self._last:
                self.reason = f"below the median of the finished trials after {self.epochs} epochs"
            if self.reason:
                raise Pruned(self.reason)

    def take_stored(self, label: str, events: list[Event]) -> None:
        """Take the epochs of a training that is stored already: others are compared with them."""
        with self._lock:
            for event in epochs_of(events):
                self._takes(label, event)

    def _takes(self, label: str, event: Event) -> bool:
        """Note an epoch; once all seeds have made it, tell their mean, and return whether that is too little."""
        epoch, of_epoch = event["epoch"], self._accuracies.setdefault(event["epoch"], {})
        of_epoch[label] = event["validation_accuracy"]
        if len(of_epoch) < self._seeds:
            return False
        self.epochs = max(self.epochs, epoch)
        return self._study.report(self._number, epoch, fmean(of_epoch.values()))


@dataclass
class UnderWay:
    """A trial whose trainings are submitted: by label, with the keys of their outputs."""

    trial: Trial
    config: PipelineConfig
    sequences: StageRef
    watch: Watch
    trainings: dict[str, Pending] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)

    def is_over(self) -> bool:
        """Say whether all trainings have ended."""
        return all(each.done() for each in self.trainings.values())


class Trials:
    """Runs the trials of a sweep, several at a time, until there are as many as were asked for."""

    def __init__(
        self, session: Session, config: PipelineConfig, study: Study, *, dataset: StageRef, sequences: StageRef
    ) -> None:
        self._session, self._config, self._dataset, self._study = session, config, dataset, study
        self._sequences = {config.sequence: sequences}  # by how images are read
        self._recorded: dict[int, Pending] = {}
        self._best = max(
            (each.accuracy or 0.0 for each in study.trials() if each.state == "complete"), default=0.0
        )

    def run(self) -> None:
        """Train what is missing; an error in OF_ALL ends it, and it goes on another time."""
        assert self._config.sweep is not None
        if self._study.finished >= self._config.sweep.trials:
            return  # without a cluster
        room, under_way = self._room(), list[UnderWay]()
        while True:
            while len(under_way) < room and (trial := self._study.next()) is not None:
                under_way += self._begin(trial)
            if not under_way:
                break
            over = [each for each in under_way if each.is_over()]
            under_way = [each for each in under_way if each not in over]
            for each in over:
                self._conclude(each)
            time.sleep(0 if over else POLL_S)

    def _room(self) -> int:
        """Return how many trials run beside each other: as asked for, else as many as the engine has room for."""
        assert self._config.sweep is not None
        seeds, asked = len(self._config.seeds), self._config.sweep.parallel
        room = asked or max(1, self._session.engine(self._config).places() // seeds)
        if self._config.execution.engine == "ray":
            self._session.runner.widen(room * seeds)
        return room

    def _begin(self, trial: Trial) -> list[UnderWay]:
        """Submit a trial's trainings; nothing where its values make no config or no sequences: Optuna is told."""
        goes_on = "goes on: " if trial.was_begun else ""
        self._session.progress.stage(f"trial {trial.number}", goes_on + "  ".join(overrides_of(trial.values)))
        try:
            config = trial_config(self._config, trial.values)
            sequences = self._sequences_of(config)
        except RnnpipeError as error:
            self._fail(trial, error, {})
            return []
        one = UnderWay(trial, config, sequences, Watch(self._study, trial.number, config))
        for seed in config.seeds:
            self._submit(one, label_of(trial.number, seed, config), seed)
        return [one]

    def _submit(self, one: UnderWay, label: str, seed: int) -> None:
        recipe = training_recipe(one.sequences, one.config, one.config.variants[0], seed)
        stored = self._session.store.find(recipe)
        if stored is not None:
            one.watch.take_stored(label, read_journal(stored.path))
        self._session.listen(label, lambda event: one.watch.hear(label, event))
        one.recipes[label] = recipe
        one.trainings[label] = submit_stage(
            self._session, tasks.train_variant, label, recipe,
            sequences=one.sequences.model_dump(), config=one.config, label=label,
            job={"variant": 0, "seed": seed}, tags=sweeps.trial_tags(self._study.name, one.trial.number),
        )  # fmt: skip

    def _sequences_of(self, config: PipelineConfig) -> StageRef:
        if config.sequence not in self._sequences:
            self._sequences[config.sequence] = sequences_of(self._session, config, self._dataset)
        return self._sequences[config.sequence]

    def _conclude(self, one: UnderWay) -> None:
        """Tell Optuna, MLflow and the display what came of a trial."""
        number, errors = one.trial.number, [each.exception() for each in one.trainings.values()]
        keys = [each.key for each in one.recipes.values()]
        about: dict[str, Any] = {"epochs": one.watch.epochs, "trainings": keys}
        if one.watch.reason:
            self._study.tell(number, "pruned", **about)
        elif error := next(filter(None, errors), None):
            self._fail(one.trial, error, about)
        else:
            trained = [StageRef(**each.result()) for each in one.trainings.values()]
            if not one.watch.epochs:  # another trial with the same values was training it
                for label, ref in zip(one.trainings, trained, strict=True):
                    one.watch.take_stored(label, read_journal(self._session.store.resolve(ref).path))
                about["epochs"] = one.watch.epochs
            accuracy = fmean(each.facts["validation_accuracy"] for each in trained)
            self._study.tell(number, "complete", accuracy, **about)
            news = ", the best so far" if accuracy > self._best else f"; best so far {self._best:.4f}"
            self._best = max(self._best, accuracy)
            self._session.progress.stage(f"trial {number}", f"validation accuracy {accuracy:.4f}{news}")
        self._record(number)

    def _fail(self, trial: Trial, error: BaseException, about: Mapping[str, Any]) -> None:
        error = explained(error)
        if not isinstance(error, RnnpipeError) or isinstance(error, OF_ALL):
            raise error
        self._session.progress.stage(f"trial {trial.number}", f"failed: {error.message}")
        self._study.tell(trial.number, "failed", error=error.message, **about)

    def _record(self, number: int) -> None:
        facts = self._study.trials()
        trial = facts[number].model_dump(mode="json")
        arguments = {"config": self._config, "sweep": self._study.name, "dataset": self._dataset.model_dump()}
        self._recorded[number] = self._session.submit(record_trial, trial=trial, number=number, **arguments)

    def record_all(self) -> None:
        """Make MLflow hold every trial that has ended, whoever ran it; TrackingError where it can't be reached.

        A trial whose values made no training has nothing to hold.
        """
        for facts in self._study.trials():
            recorded = self._recorded.pop(facts.number, None)
            if facts.state != "running" and facts.trainings and (recorded is None or recorded.exception()):
                self._record(facts.number)
                self._recorded.pop(facts.number).result()


@task(name="record trial", task_run_name="record trial {number}", persist_result=False)
def record_trial(trial: Json, number: int, config: PipelineConfig, *, sweep: str, dataset: Json) -> list[str]:
    """Make MLflow hold the trainings of a trial; returns the ids of its runs there.

    No tag is that of a pipeline run: such a run has a verdict.
    """
    current, facts = session(), TrialFacts(**trial)
    own = trial_config(config, facts.values)
    tags = {name: value for name, value in current.tags(own).items() if name != PIPELINE_RUN_TAG}
    return [
        sweeps.record_trial(
            current.tracking(own), facts, sweep,
            training=sweeps.TrialTraining(
                key=key, folder=current.store.root / TRAINING_STAGE / key, name=label_of(number, seed, own),
                params=own.params_of(0, seed),
            ),
            dataset=StageRef(**dataset), tags=tags,
        )
        for key, seed in zip(facts.trainings, own.seeds, strict=True)
    ]  # fmt: skip


def label_of(number: int, seed: int, config: PipelineConfig) -> str:
    """Return what a trial's training is called."""
    return f"trial {number}" + (f" s{seed}" if len(config.seeds) > 1 else "")
