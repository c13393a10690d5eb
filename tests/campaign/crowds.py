"""Many at once: eight runs in one workspace, with one store, one SQLite and one registry."""

from pathlib import Path

from kills import state_of
from reporting import Tally
from small_job import Trial, config_of, wait_for

PROMISE = "all end; a run of MLflow for each, equal to its journal; the champion's files verify"
AT_ONCE = 8


def eight_writers(folder: Path, rounds: int) -> Tally:
    """Start eight runs at the same time, of four seeds, so that each config has a twin."""
    tally = Tally("eight runs write into one workspace at once", PROMISE)
    for number in range(rounds):
        place = folder / f"crowd-{number}"
        trials = [Trial(place, config_of("basic", seeds=[seed % 4])) for seed in range(AT_ONCE)]
        codes = [wait_for(pid) for pid in [trial.begin() for trial in trials]]
        problems = [f"exit codes {codes}: {trials[0].told()}"] if any(codes) else []
        tally.add(*problems, *state_of(trials[0])["problems"])
    return tally
