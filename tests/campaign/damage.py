"""Damage: files of every kind the store has, torn, truncated, flipped by a bit, emptied or lost; then a run."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from kills import Undisturbed, finish
from reporting import Tally
from small_job import TRAINABLE, Trial, config_of, kill, wait_for
from state import write_state_of_damaged

from rnnpipe.faults import VARYING

PROMISE = "noticed by its digest; the run ends as the undisturbed one did"
FILES_A_RUN = 4


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _torn(content: bytes, chance: random.Random) -> bytes:
    """What a power cut leaves: the length is there, the end of the content is zeros."""
    whole = chance.randrange(len(content))
    return content[:whole] + bytes(len(content) - whole)


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "one bit flipped": _flipped,
    "torn": _torn,
    "truncated": lambda content, chance: content[: chance.randrange(len(content))],
    "emptied": lambda content, chance: b"",
    "lost": lambda content, chance: None,
}


def damage(trial: Trial, chance: random.Random) -> dict[str, str]:
    """Damage some files of a workspace's store, of different kinds; return what was done to which kind."""
    files = [path for path in trial.home.glob("store/**/*") if path.is_file() and path.stat().st_size]
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault(VARYING.sub("#", str(path.relative_to(trial.home / "store"))), []).append(path)
    done = {}
    for kind in chance.sample(sorted(kinds), min(FILES_A_RUN, len(kinds))):
        path, name = chance.choice(sorted(kinds[kind])), chance.choice(sorted(DAMAGE))
        content = DAMAGE[name](path.read_bytes(), chance)
        path.unlink() if content is None else path.write_bytes(content)
        done[kind] = name
    return done


def interrupt(trial: Trial, duration_s: float, chance: random.Random) -> None:
    """Leave unfinished work behind: a training with checkpoints, killed."""
    for _ in range(20):
        pid = trial.begin()
        time.sleep(chance.uniform(0.2, 0.9) * duration_s)
        kill(pid, "all")
        wait_for(pid)
        if any(trial.home.glob("store/trainings/*/log/checkpoints/*.json")):
            return


def damaged_files(undisturbed: Undisturbed, wanted: int, seed: int) -> list[Tally]:
    """Damage so many files, some at a time, in finished and in unfinished workspaces; run again, and compare."""
    tallies = {name: Tally(f"a file of the store {name}", PROMISE) for name in DAMAGE}
    while sum(tally.injections for tally in tallies.values()) < wanted:
        chance, variant = random.Random(seed), TRAINABLE[seed % len(TRAINABLE)]
        expected, duration_s = undisturbed.of(variant)
        trial = Trial(undisturbed.folder / f"damage-{seed}", config_of(variant))
        if seed % 2:
            interrupt(trial, duration_s, chance)
        else:
            shutil.copytree(undisturbed.folder / f"undisturbed-{variant}" / "home", trial.home)
        done = damage(trial, chance)
        problems = [
            f"seed {seed} ({variant}), {done}: {problem}"
            for problem in finish(trial, expected, write_state_of_damaged)
        ]
        for number, name in enumerate(done.values()):
            tallies[name].add_several(1, problems if not number else [])
        if not problems:
            shutil.rmtree(trial.folder, ignore_errors=True)
        seed += 1
    return list(tallies.values())
