"""A sweep in MLflow: each training of a trial is a run, and the sweep itself is one, with figures and page.

tags  rnnpipe.sweep (its name), rnnpipe.trial (its number), rnnpipe.trial_state
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnpipe.files import digest_of
from rnnpipe.references import StageRef
from rnnpipe.sweeping.facts import BEST_FILE, FIGURES, PAGE_FILE, State, SweepFacts, TrialFacts
from rnnpipe.tracking.client import Tracking, retried
from rnnpipe.tracking.recording import flatten, journal_points, run_spec
from rnnpipe.tracking.runs import (
    DatasetUse,
    MetricPoint,
    RunSpec,
    Status,
    find_run,
    finish_run,
    log_artifact_files,
    log_dataset,
    log_points,
    set_tags,
    start_run,
    update_points,
)
from rnnpipe.training.journal import final_events, read_journal

SWEEP_TAG, TRIAL_TAG, STATE_TAG = "rnnpipe.sweep", "rnnpipe.trial", "rnnpipe.trial_state"
OF_TRIALS, OF_BEST = "sweep/validation_accuracy", "sweep/best_validation_accuracy"  # by the number of the trial
STATUSES: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def sweep_key(name: str) -> str:
    """Return the key of a sweep's own run."""
    return digest_of({"sweep": name})


def trial_tags(sweep: str, number: int) -> dict[str, str]:
    """Return the tags that tie a training to its sweep."""
    return {SWEEP_TAG: sweep, TRIAL_TAG: str(number)}


@dataclass(frozen=True)
class TrialTraining:
    """A training of a trial: its key, its folder in the store, finished or not, its name, its nested params."""

    key: str
    folder: Path
    name: str
    params: Mapping[str, Any]


@retried
def record_trial(
    tracking: Tracking, trial: TrialFacts, sweep: str, *, training: TrialTraining, dataset: StageRef,
    tags: Mapping[str, str],
) -> str:  # fmt: skip
    """Make MLflow hold all of a training of a trial that has ended, and return the run's id.

    Again, it changes nothing. Where two trials have the same values, the later one's number stands there.
    """
    own = {**trial_tags(sweep, trial.number), STATE_TAG: trial.state}
    found = find_run(tracking, training.key)
    if found is not None and own.items() <= found.data.tags.items():
        return str(found.info.run_id)
    events = read_journal(training.folder)
    if events:
        spec = run_spec(training.key, training.folder, name=training.name, params=training.params, tags=tags)
    else:  # it failed before it began
        now_ms = time.time_ns() // 1_000_000
        spec = RunSpec(training.key, training.name, flatten(training.params), tags, now_ms)
    run_id = start_run(tracking, spec)
    name = dataset.facts["name"]
    log_dataset(tracking, run_id, DatasetUse(name, dataset.digest, name, "training"))
    log_points(tracking, run_id, journal_points(final_events(events)))
    finish_run(tracking, run_id, STATUSES[trial.state], events[-1]["time_ms"] if events else spec.started_at_ms)
    set_tags(tracking, run_id, own)
    return run_id


@retried
def record_sweep(tracking: Tracking, facts: SweepFacts, folder: Path, tags: Mapping[str, str]) -> str:
    """Make MLflow hold a sweep: what it tried, the course of its trials, figures, page, the best config.

    Called again, it adds what is new. Returns the run's id.
    """
    ended = [each for each in facts.trials if each.ended_at_ms is not None]
    started_at_ms = min((each.ended_at_ms or 0 for each in ended), default=time.time_ns() // 1_000_000)
    own = {**tags, SWEEP_TAG: facts.name}
    spec = RunSpec(sweep_key(facts.name), f"sweep {facts.name}", _params(facts), own, started_at_ms)
    run_id = start_run(tracking, spec)
    log_points(tracking, run_id, _course(ended))
    counts = {state: sum(each.state == state for each in facts.trials) for state in STATUSES}
    now_ms = max((each.ended_at_ms or 0 for each in ended), default=started_at_ms)
    update_points(
        tracking, run_id, [MetricPoint(f"sweep/{state}", count, 0, now_ms) for state, count in counts.items()]
    )
    log_artifact_files(tracking, run_id, sorted((folder / FIGURES).glob("*.png")), FIGURES)
    files = [folder / name for name in (PAGE_FILE, BEST_FILE) if (folder / name).exists()]
    log_artifact_files(tracking, run_id, files, "")
    finish_run(tracking, run_id, "FINISHED", now_ms)
    best = facts.best
    set_tags(tracking, run_id, {**own, "rnnpipe.best_trial": "" if best is None else best.number})
    return run_id


def _params(facts: SweepFacts) -> dict[str, Any]:
    """Return what a sweep is, as flat params; what it may go on with, such as more trials, is none of them."""
    assert facts.config.sweep is not None
    plan = facts.config.sweep.model_dump(mode="json", exclude={"trials", "parallel", "parameters"})
    space = {
        f"sweep.{path}": _in_words(each.model_dump(mode="json", exclude_defaults=True))
        for path, each in facts.config.sweep.parameters.items()
    }
    return {**flatten(plan, "sweep."), **space}


def _in_words(parameter: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameter.items())


def _course(ended: Sequence[TrialFacts]) -> list[MetricPoint]:
    """Return the accuracy of each finished trial, and the best so far."""
    points, best = list[MetricPoint](), 0.0
    for each in ended:
        if each.state == "complete" and each.accuracy is not None:
            best = max(best, each.accuracy)
            points += [
                MetricPoint(name, value, each.number, each.ended_at_ms or 0)
                for name, value in ((OF_TRIALS, each.accuracy), (OF_BEST, best))
            ]
    return points
