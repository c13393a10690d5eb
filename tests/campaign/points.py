"""Kills at every named point that a command reaches, found by letting it run once and note them."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kills import EXPECTED_CODES, PROMISE, Undisturbed, finish, state_of
from mlflow import MlflowClient
from reporting import Tally
from small_job import Trial, config_of, wait_for
from state import add_nameless, depose, write_registry, write_state_of_demos

from rnnpipe.config import PipelineConfig
from rnnpipe.faults import KILLED

ROOT = Path(__file__).parents[2]

VARIANT = "basic"
AGAIN_PROMISE = "the same command ends well; what it leaves is whole and there once"
LISTED_PROMISE = "each is reached by a walk, or stands among the rare ones"
SOURCES = (*ROOT.glob("rnnpipe/**/*.py"), *ROOT.glob("flows/**/*.py"))
CALLED = re.compile(r"\btracking\.client\.(\w+)\(|\bclient\.(\w+)\(")
MARKED = re.compile(r"faults\.(?:around|reach)\(\"(?:before-|after-)?([\w-]+)\"")
# what only a lost answer or an older workspace leads to: tests/tracking has a test of each
RARE = {
    "delete_run", "delete_registered_model_alias", "update_run", "get_metric_history", "list_artifacts",
}  # fmt: skip


@dataclass(frozen=True)
class Walk:
    """A command, where it is run, what is wrong after its end, and which points to kill at twice."""

    command: tuple[str, ...]
    workspace: Callable[[Path], Trial]
    problems: Callable[[Trial], list[str]]
    again: str = "none"


def fresh(folder: Path) -> Trial:
    """Return an empty workspace."""
    return Trial(folder, config_of(VARIANT))


def reproduced(folder: Path) -> Trial:
    """Return a workspace in which the job, and then its champion, were made."""
    trial = fresh(folder)
    for command in ((), REPRODUCE):
        assert not trial.run(command=command), trial.told()
    return trial


def outdone(folder: Path) -> Trial:
    """Return a workspace whose champion is worse than what the job trains."""
    weak = Trial(folder, config_of(VARIANT, training={"epochs": 1, "learning_rate": 1e-5, "preflight": False}))
    assert not weak.run(), weak.told()
    return fresh(folder)


def left_by(work: Callable[[Path, PipelineConfig], None]) -> Callable[[Path], Trial]:
    """Return what makes a workspace in which the job and then `work` was done."""

    def workspace(folder: Path) -> Trial:
        trial = fresh(folder)
        assert not trial.run(), trial.told()
        assert not wait_for(trial.start(lambda: work(trial.home, trial.config))), trial.told()
        return trial

    return workspace


def registry_is(**expected: object) -> Callable[[Trial], list[str]]:
    """Return what says what is wrong unless each alias names this version, and there are so many versions."""

    def problems(trial: Trial) -> list[str]:
        found = state_of(trial, write_registry)["outcome"]
        return state_of(trial)["problems"] + ([] if found == expected else [f"the registry has {found}"])

    return problems


REPRODUCE = ("reproduce", "digits-rows")
PROMOTE = ("promote", "digits-rows/1", "--reason", "it is good enough")
PRUNE = ("prune", "--yes", "--versions", "--keep", "0")
WALKS = {
    "the demos": Walk(("demos",), fresh, lambda trial: state_of(trial, write_state_of_demos)["problems"]),
    "a reproduction": Walk(REPRODUCE, reproduced, lambda trial: state_of(trial)["problems"]),
    "a run that replaces the champion": Walk(
        (), outdone, registry_is(champion=2, previous=1, versions=2, models=2), again="alias"
    ),
    "a promotion by hand": Walk(PROMOTE, left_by(depose), registry_is(champion=1, versions=1, models=1)),
    "a prune": Walk(PRUNE, left_by(add_nameless), registry_is(champion=1, versions=1, models=1)),
}


def named_points(undisturbed: Undisturbed, *, is_long: bool) -> list[Tally]:
    """Kill at every point of each walk; in the short form at every third of those that no walk before had."""
    expected, _ = undisturbed.of(VARIANT)
    run = Walk((), fresh, lambda trial: finish(trial, expected))
    tallies, seen = [], set[str]()
    for name, walk in {"a run": run, **WALKS}.items():
        tally = Tally(f"kill at a named point of {name}", PROMISE if walk is run else AGAIN_PROMISE)
        place = undisturbed.folder / name.replace(" ", "-")
        points = _points_of(walk, place)
        chosen = [f"{each}:1" for each in points if is_long or each not in seen or walk.again in each]
        chosen += [f"{each}:2" for each in points if walk.again in each]
        chosen = chosen if is_long else chosen[::3]
        for point, problems in _kill_everywhere(walk, place, chosen):
            tally.add(*(f"{point}: {problem}" for problem in problems))
        seen.update(points)
        tallies.append(tally)
    return [*tallies, _are_walked(seen)]


def _are_walked(seen: set[str]) -> Tally:
    """Compare the points that the sources have with those that were walked: a new one can't be forgotten."""
    tally = Tally("a kind of point, or a call of MLflow, in the sources", LISTED_PROMISE)
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "faults.py")
    tracking = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.parent.name == "tracking")
    walked = {re.sub("^(before|after)-", "", part) for point in seen for part in point.split("/")}
    called = {name for pair in CALLED.findall(tracking) for name in pair if name and hasattr(MlflowClient, name)}
    assert called > RARE, RARE - called
    for name in sorted({*MARKED.findall(text), *called}):
        tally.add(*([] if name in walked or name in RARE else [f"{name} is reached by none"]))
    return tally


def _kill_everywhere(walk: Walk, place: Path, waiting: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Kill at every point that waits, in one workspace as far as it goes, then in the next; yield each."""
    number = 0
    while waiting:
        number += 1
        trial, missed, killed = walk.workspace(place / str(number)), waiting, waiting
        while killed:
            code, killed = _kill_at_one(walk, trial, missed)
            is_told = code in (0, -signal.SIGKILL, *EXPECTED_CODES) if killed else not code
            problems = [] if is_told else [f"exit code {code}: {trial.told()}"]
            for point in killed or [f"walk {number}"] * (not is_told):
                yield point, problems
            missed = [point for point in missed if point not in killed]
        if problems := walk.problems(trial):
            yield f"walk {number}", problems
        if missed == waiting:
            yield from ((point, ["it was never reached"]) for point in missed)
            return
        waiting = missed
        shutil.rmtree(trial.folder)


def _kill_at_one(walk: Walk, trial: Trial, points: list[str]) -> tuple[int, list[str]]:
    """Run a command that dies at whichever of the points it reaches first; return its exit code and that point.

    Two of its processes may reach one each.
    """
    log = trial.output.with_suffix(".log")
    log.unlink(missing_ok=True)
    code = trial.run(",".join(points), log, walk.command)
    return code, [point.removeprefix(KILLED) for point in points_in(log) if point.startswith(KILLED)]


def points_in(log: Path) -> list[str]:
    """Return the points that a log names, each once, in the order of first reach."""
    return list(dict.fromkeys(log.read_text(encoding="utf-8").splitlines()))


def _points_of(walk: Walk, place: Path) -> list[str]:
    place.mkdir()
    log, trial = place / "points.log", walk.workspace(place / "0")
    code = trial.run(log=log, command=walk.command)
    assert not code, (code, trial.told())
    return points_in(log)
