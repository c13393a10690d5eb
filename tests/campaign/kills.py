"""Kills at random instants; each run ends as the undisturbed one did."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reporting import Tally
from small_job import HUNG, TRAINABLE, Trial, config_of, kill, wait_for
from state import write_state

from rnnpipe.config import PipelineConfig

Look = Callable[[Path, Path, PipelineConfig], None]
WHOM = ("main", "all", "child")
PROMISE = "same weights, losses, predictions; one MLflow run equal to the journal; one version; nothing left"
EXPECTED_CODES = (4, 5)  # a training or a delivery that was killed is told so


class Undisturbed:
    """The outcome of a small job that nobody disturbs, by variant, and how long it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.known = folder, dict[str, tuple[dict[str, Any], float]]()

    def of(self, variant: str) -> tuple[dict[str, Any], float]:
        if variant not in self.known:
            trial = Trial(self.folder / f"undisturbed-{variant}", config_of(variant))
            started = time.monotonic()
            code = trial.run()
            duration_s = time.monotonic() - started
            state = state_of(trial)
            assert not code and not state["problems"], (code, state["problems"], trial.told())
            self.known[variant] = state["outcome"], duration_s
        return self.known[variant]


def state_of(trial: Trial, look: Look = write_state) -> dict[str, Any]:
    """Return outcome and problems of a trial's workspace, looked at by a process of its own."""
    path = trial.folder / "state.json"
    code = wait_for(trial.start(lambda: look(path, trial.home, trial.config)))
    if code:
        return {"outcome": None, "problems": [f"its state can't be read: exit code {code}: {trial.told()}"]}
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state


def finish(trial: Trial, expected: dict[str, Any], look: Look = write_state) -> list[str]:
    """Run the job once more; return what is wrong then."""
    if code := trial.run():
        return [f"exit code {code}: {trial.told()}"]
    state = state_of(trial, look)
    if state["outcome"] != json.loads(json.dumps(expected)):
        state["problems"].append(f"the outcome differs: {difference(expected, state['outcome'])}")
    return state["problems"]


def difference(expected: dict[str, Any], found: dict[str, Any] | None) -> str:
    return ", ".join(name for name in expected if not found or expected[name] != found[name])


def kill_at_random(undisturbed: Undisturbed, seed: int) -> tuple[int, list[str]]:
    """Kill one run 1 to 5 times; return how many kills met it, and what is wrong in the end."""
    chance = random.Random(seed)
    variant = TRAINABLE[seed % len(TRAINABLE)]
    expected, duration_s = undisturbed.of(variant)
    trial, kills = Trial(undisturbed.folder / f"kill-{seed}", config_of(variant)), 0
    for _ in range(chance.randint(1, 5)):
        pid = trial.begin()
        time.sleep(chance.uniform(0, duration_s))
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if status and os.waitstatus_to_exitcode(status) not in EXPECTED_CODES:
                return kills, [f"seed {seed}: exit status {status}: {trial.told()}"]
            continue
        kill(pid, chance.choice(WHOM), chance.choice)
        kills += 1
        if wait_for(pid) == HUNG:
            return kills, [f"seed {seed}: after a kill: {trial.told()}"]
    problems = [f"seed {seed} ({variant}): {problem}" for problem in finish(trial, expected)]
    if not problems:
        shutil.rmtree(trial.folder)
    return kills, problems


def random_kills(undisturbed: Undisturbed, wanted: int, seed: int) -> Tally:
    """Kill at random instants, 1 to 5 times a run, until there were so many kills."""
    tally = Tally("SIGKILL at random, 1 to 5 times a run", PROMISE)
    while tally.injections < wanted:
        kills, problems = kill_at_random(undisturbed, seed)
        tally.add_several(kills, problems)
        seed += 1
    return tally
