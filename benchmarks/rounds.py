"""Contenders that take turns in rounds, and the sums over the rounds: what every comparison here is made with."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from benchmarks.load import FOREIGN_LIMIT, Clocks, ForeignLoad, read_clocks

MIN_ROUNDS = 5

Contender = Callable[[], float | None]  # does the work; may return the seconds itself, where not all of it counts
Round = dict[str, Any]
Spread = dict[str, float]


def take_turns(
    contenders: Mapping[str, Contender], rounds: int, label: str, *, clocks: Callable[[], Clocks] = read_clocks,
    least: int = MIN_ROUNDS,
) -> list[Round]:  # fmt: skip
    """Let all contenders do their work once a round; return the rounds, every single measurement kept.

    A round has `wall_s`, `foreign_cores`, `stolen_cores` by contender, and `is_disturbed`: whether others used the
    machine while any contender worked. Warming up is the caller's. `label` stands before the line of progress;
    fewer rounds than the `least` say too little.
    """
    assert rounds >= least, f"{rounds} rounds say too little"
    measured: list[Round] = []
    for number in range(rounds):
        # who goes first alternates: what slows down within a round hits all alike
        names = list(contenders)[:: 1 if number % 2 == 0 else -1]
        loads: dict[str, ForeignLoad] = {}
        own_s: dict[str, float | None] = {}
        for name in names:
            with ForeignLoad(clocks) as loads[name]:
                own_s[name] = contenders[name]()
        each = round_of(loads)
        each["wall_s"] |= {name: value for name, value in own_s.items() if value is not None}
        measured.append(each)
        walls = ", ".join(f"{name} {wall_s:.3g} s" for name, wall_s in each["wall_s"].items())
        click.echo(f"{label}, round {number + 1} of {rounds}: {walls}{' (disturbed)' * each['is_disturbed']}")
    return measured


def round_of(loads: Mapping[str, ForeignLoad]) -> Round:
    """Return the round of what was measured once, by name."""
    return {
        "wall_s": {name: load.wall_s for name, load in loads.items()},
        "foreign_cores": {name: load.foreign_cores for name, load in loads.items()},
        "stolen_cores": {name: load.stolen_cores for name, load in loads.items()},
        "is_disturbed": any(load.is_disturbed for load in loads.values()),
    }


def spread(values: Iterable[float]) -> Spread:
    """Return median, minimum and maximum."""
    known = list(values)
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}


def summarize(rounds: Sequence[Round], reference: str) -> dict[str, dict[str, Spread]]:
    """Return `wall_s` of each contender, and `ratio` of each but the reference: how many times as fast as it.

    Ratios are taken round by round, so that a slower spell of the machine hits both sides.
    """
    names = list(rounds[0]["wall_s"])
    walls = {name: [each["wall_s"][name] for each in rounds] for name in names}
    ratios = {
        name: spread(ours / own for ours, own in zip(walls[reference], walls[name], strict=True))
        for name in names
        if name != reference
    }
    return {"wall_s": {name: spread(values) for name, values in walls.items()}, "ratio": ratios}


def ratios_of_cases(cases: Iterable[Mapping[str, Any]]) -> dict[str, Spread]:
    """Return the ratios of cases by variant, contender and, where a case has it, number of threads."""
    return {
        f"{case['variant']} {name}" + (f" {case['threads']} threads" if "threads" in case else ""): ratio
        for case in cases
        for name, ratio in case["summary"]["ratio"].items()
    }


def load_of(rounds: Iterable[Round]) -> dict[str, Any]:
    """Return how many rounds were disturbed, the most that others used (cores), whether to trust the figures."""
    known = list(rounds)
    disturbed = sum(each["is_disturbed"] for each in known)
    return {
        "rounds": len(known),
        "disturbed": disturbed,
        "max_foreign_cores": max(value for each in known for value in each["foreign_cores"].values()),
        "max_stolen_cores": max(value for each in known for value in each["stolen_cores"].values()),
        "is_trusted": disturbed <= len(known) / 2,
    }


def load_sentence(load: dict[str, Any]) -> str:
    """Return what is to be said about the load, with the figures and on the terminal."""
    if not load["disturbed"]:
        return f"In none of the {load['rounds']} rounds did others use more than {FOREIGN_LIMIT:g} cores."
    most = f"{load['max_foreign_cores']:.2f} cores by other processes, {load['max_stolen_cores']:.2f} by the host"
    told = (
        f"in {load['disturbed']} of {load['rounds']} rounds others used more than {FOREIGN_LIMIT:g} cores "
        f"(at most {most})."
    )
    if load["is_trusted"]:
        return f"**The machine was loaded at times**: {told}"
    return f"**These figures can't be trusted**: {told} Measure again on a quiet machine."
