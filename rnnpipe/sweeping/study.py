"""A sweep's trials: proposed by Optuna, told what came out, and taken up again after a kill.

What is proposed is a function of seed, number of the trial and the trials told so far: each has a sampler of its
own, as one that was made anew after a kill would propose what it has proposed before.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rnnpipe.config import PipelineConfig
from rnnpipe.config.mistakes import kind_at
from rnnpipe.config.sweep import SweepParameter
from rnnpipe.config.trials import bounds_of
from rnnpipe.files import digest_of
from rnnpipe.sweeping.facts import State, TrialFacts
from rnnpipe.sweeping.storage import check_storage, guarded, hold_sweep, open_storage

FINISHED_BEFORE_PRUNING, SHARE_BEFORE_PRUNING = 5, 1 / 3  # trials; epochs, of those of the config
STATES: dict[State, Any] = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
}  # fmt: skip
ABOUT = ("epochs", "trainings", "error")  # what is kept of a trial beside its values


@dataclass(frozen=True)
class Trial:
    """A trial that is to be trained: its number, the value of each field by path; whether it was begun before."""

    number: int
    values: Mapping[str, Any]
    was_begun: bool = False


@contextlib.contextmanager
def open_study(workspace: Path, name: str, config: PipelineConfig) -> "Iterator[Study]":
    """Open a sweep by its name for the length of the block, alone; StorageError where that can't be done."""
    assert config.sweep is not None
    url = check_storage(workspace)
    storage = open_storage(url)
    with hold_sweep(storage, name) as check_held:
        yield Study(storage, name, config, url=url, check_held=check_held)


class Study:
    """The trials of a sweep; safe to use from many threads of one process."""

    def __init__(
        self, storage: Any, name: str, config: PipelineConfig, *, url: str, check_held: Callable[[], object]
    ) -> None:
        """Open it; `check_held` raises where another process may have it by now."""
        assert config.sweep is not None
        self.lock, self.url, self._check_held = threading.RLock(), url, check_held
        self.name, self._plan, self._storage = name, config.sweep, storage
        self._trials: dict[int, optuna.Trial] = {}
        self._open(name, round(config.training_of(config.variants[0]).epochs * SHARE_BEFORE_PRUNING))

    @guarded
    def _open(self, name: str, unpruned_epochs: int) -> None:
        pruner = optuna.pruners.MedianPruner(FINISHED_BEFORE_PRUNING, max(unpruned_epochs, 1))
        self._study = optuna.create_study(
            storage=self._storage, study_name=name, direction="maximize", load_if_exists=True,
            pruner=pruner if self._plan.pruning else optuna.pruners.NopPruner(),
        )  # fmt: skip
        self._id = self._storage.get_study_id_from_name(name)
        begun = [each.number for each in self._all() if not each.state.is_finished()]
        self._begun = [number for number in begun if number < self._plan.trials]

    @property
    def finished(self) -> int:
        """How many trials have ended, in whatever state."""
        return sum(each.state != "running" for each in self.trials())

    @guarded
    def next(self) -> Trial | None:
        """Return the next trial, first those that were begun and not told of; None after the last."""
        self._check_held()
        was_begun = bool(self._begun)
        number = self._begun.pop(0) if was_begun else len(self._all())
        if not was_begun and number >= self._plan.trials:
            return None
        self._study.sampler = self._sampler(number)
        if was_begun:
            trial = optuna.Trial(self._study, self._place(number))
        else:
            trial = self._study.ask()
            assert trial.number == number, "a sweep is held by one process"
        self._trials[number] = trial
        values = {path: _suggest(trial, path, each) for path, each in self._plan.parameters.items()}
        return Trial(number, values, was_begun)

    def _sampler(self, number: int) -> Any:
        seed = int(digest_of([self._plan.seed, number])[:8], 16)
        if self._plan.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    @guarded
    def report(self, number: int, epoch: int, accuracy: float) -> bool:
        """Tell the validation accuracy after an epoch, from 1; return whether the trial promises too little.

        Of an epoch that was told before a kill, the first accuracy stays, and the trial was let go on then.
        """
        trial, step = self._trials[number], epoch - 1  # Optuna counts from 0
        told = self._storage.get_trial(self._place(number)).intermediate_values
        if step not in told:
            trial.report(accuracy, step)
        elif step < max(told):
            return False
        return bool(trial.should_prune())

    @guarded
    def tell(self, number: int, state: State, accuracy: float | None = None, **about: Any) -> None:
        """Tell how a trial ended: its accuracy if it is complete, and of `about` what `TrialFacts` has."""
        assert set(about) <= set(ABOUT)
        self._check_held()
        trial = self._trials.pop(number)
        for name, value in about.items():
            trial.set_user_attr(name, value)
        self._study.tell(trial, accuracy, state=STATES[state])

    @guarded
    def trials(self) -> tuple[TrialFacts, ...]:
        """Return all trials so far, in the order of their numbers."""
        return tuple(_facts(each) for each in self._all())

    @guarded
    def importance(self) -> dict[str, float]:
        """Return by path the share of the accuracy's variance that a field alone explains, the largest first.

        Nothing where there are fewer than three finished trials, or all have the same accuracy.
        Source: F. Hutter, H. Hoos, K. Leyton-Brown, “An efficient approach for assessing hyperparameter
        importance”, 2014 (fANOVA).
        """
        values = {each.value for each in self._all() if each.state is TrialState.COMPLETE}
        finished = sum(each.state is TrialState.COMPLETE for each in self._all())
        if finished < 3 or len(values) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._plan.seed)
        try:
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator, normalize=False)
        except RuntimeError:  # what its trees see of the trials has no variance
            return {}
        return {path: float(share) for path, share in found.items()}

    def _all(self) -> list[FrozenTrial]:
        return list(self._study.get_trials(deepcopy=False))

    def _place(self, number: int) -> int:
        return int(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))


def _suggest(trial: optuna.Trial, path: str, parameter: SweepParameter) -> Any:
    """Return the value that a trial gives a field, or has given it before."""
    if parameter.choices is not None:
        return trial.suggest_categorical(path, parameter.choices)
    low, high = bounds_of(path, parameter)
    if kind_at(path) == "integer":
        step = int(parameter.step or 1)
        return trial.suggest_int(path, int(low), int(high), step=step, log=parameter.log)
    return trial.suggest_float(path, low, high, step=parameter.step, log=parameter.log)


def _facts(trial: FrozenTrial) -> TrialFacts:
    states: dict[Any, State] = {state: name for name, state in STATES.items()}
    about = trial.user_attrs
    ended = trial.datetime_complete
    return TrialFacts(
        number=trial.number,
        state=states.get(trial.state, "running"),
        values=dict(trial.params),
        accuracy=trial.value,
        epochs=int(about.get("epochs", 0)),
        trainings=tuple(about.get("trainings", ())),
        error=str(about.get("error", "")),
        ended_at_ms=int(1000 * ended.timestamp()) if ended else None,
    )
