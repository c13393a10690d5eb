"""Actions timed in rounds: each is done once a round, and what others use of the machine is measured beside it."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import click

from benchmarks.load import ForeignLoad, own_s
from benchmarks.rounds import Round, spread

Action = Callable[[], object]
ONCE_S = 15.0  # what takes longer is done once, and told so


def timed_rounds(actions: Mapping[str, Action], rounds: int, label: str) -> list[Round]:
    """Return the rounds: `wall_s` and `cpu_s` of each action, and the load of the whole round.

    `cpu_s` is what client, servers and database worked, also where they had to wait for a core.

    A round before them warms up; what takes more than 15 seconds in it is measured there and not repeated.
    """
    first = _round(actions)
    slow = {name for name, wall_s in first["wall_s"].items() if wall_s > ONCE_S}
    measured = [_round({n: a for n, a in actions.items() if n not in slow}) for _ in range(rounds)]
    for kind in ("wall_s", "cpu_s"):
        measured[0][kind] |= {name: first[kind][name] for name in slow}
    for name in actions:
        walls = [each["wall_s"][name] for each in measured if name in each["wall_s"]]
        click.echo(f"{label}: {name} {1000 * spread(walls)['median']:.1f} ms")
    return measured


def summary_of(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the spread of each action, in seconds, with how many times it was done, and its median `cpu_s`."""
    found = {}
    for name in dict.fromkeys(name for each in rounds for name in each["wall_s"]):
        done = [each for each in rounds if name in each["wall_s"]]
        worked_s = spread(each["cpu_s"][name] for each in done)["median"]
        found[name] = {**spread(each["wall_s"][name] for each in done), "times": len(done), "cpu_s": worked_s}
    return found


def _round(actions: Mapping[str, Action]) -> Round:
    walls: dict[str, float] = {}
    worked: dict[str, float] = {}
    with ForeignLoad() as load:
        for name, action in actions.items():
            before_s = own_s()
            began_s = perf_counter()
            action()
            walls[name] = perf_counter() - began_s
            worked[name] = own_s() - before_s
    return {
        "wall_s": walls,
        "cpu_s": worked,
        "foreign_cores": {"round": load.foreign_cores},
        "stolen_cores": {"round": load.stolen_cores},
        "is_disturbed": load.is_disturbed,
    }
