"""What settings were worth: one figure instead of another, both measured, and whether that is a gain."""

from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.backlog import is_clear, with_backlogs
from benchmarks.scaling.tables import NOTICED_S, Case, called, of_part, time_text

ENOUGH = 0.1  # what is better by less may be chance
COMPARISON, ALONE = "comparison: 100 runs, best first", "the same in an experiment of its own"
NEWEST = "`rnnpipe runs`: the 20 newest"
BACKENDS = ("SQLite", "Postgres")


@dataclass(frozen=True)
class Figure:
    """One figure instead of another, in words; `is_gain` is None where the measurement doesn't tell."""

    text: str
    is_gain: bool | None


def shorter(now_s: float, before_s: float, what: str) -> Figure:
    """Return the figure of a time, which is a gain if it is shorter by at least a tenth."""
    return Figure(f"{time_text(now_s)} instead of {time_text(before_s)} {what}", now_s <= (1 - ENOUGH) * before_s)


@dataclass(frozen=True)
class Slow:
    """What takes over a second on SQLite, and how long on Postgres if it was measured there with as many runs."""

    action: str
    sqlite_s: float
    postgres_s: float | None

    @property
    def on_postgres(self) -> Figure | None:
        """What Postgres is worth for it; None if that wasn't measured."""
        if self.postgres_s is None:
            return None
        return shorter(self.postgres_s, self.sqlite_s, f'for "{self.action}"')


def figures(result: dict[str, Any]) -> dict[str, list[Figure]]:
    """Return what was measured of each setting, by its name in remedies.HELP; an empty list if it was left out."""
    found: dict[str, list[Figure]] = {"index": [], "sorting": []}
    slow = slow_on_sqlite(result, most_in_both(result))
    changed = of_part(result, "mlflow setting")
    if len(changed) == 2:
        indexed, sorting = changed
        plain = _largest(result, indexed["backend"].partition(":")[0])
        asked = {"find a run by its key": "for a run by its key", "start a run": "to start one"}
        listed = {NEWEST: "for `rnnpipe runs`"}
        found["index"] = _changes(indexed, plain, {**asked, **listed})
        found["sorting"] = _changes(sorting, indexed, {COMPARISON: "for the comparison", **listed})
    return {
        **found,
        "database": [each.on_postgres for each in slow if each.on_postgres],
        "experiment": _experiments(result),
        "workers": [
            *_rates(result, "log 6 points", 10, "epochs logged a second for 10 clients"),
            *_rates(result, "comparison", 10, "comparisons a second for 10 clients"),
        ],
        "servers": _rates(result, "newest flow runs", 100, "lists of flow runs a second for 100 clients"),
    }


def most_in_both(result: dict[str, Any]) -> int:
    """Return the most runs that MLflow was asked with on both databases; none if there is no such number."""
    sizes = [{case["size"] for case in of_part(result, "mlflow") if case["backend"] == each} for each in BACKENDS]
    return max(set.intersection(*sizes), default=0)


def slow_on_sqlite(result: dict[str, Any], size: int) -> list[Slow]:
    """Return what MLflow and Prefect take over a second for on SQLite with so many runs, the slowest first."""
    found = []
    for part in ("mlflow", "prefect"):
        on = {case["backend"]: case["summary"] for case in of_part(result, part) if case["size"] == size}
        beside = on.get("Postgres", {})
        for action, each in on.get("SQLite", {}).items():
            if each["median"] > NOTICED_S:
                postgres_s = beside[action]["median"] if action in beside else None
                found.append(Slow(called(action), each["median"], postgres_s))
    return sorted(found, key=lambda each: -each.sqlite_s)


def _changes(now: Case, before: Case, asked: dict[str, str]) -> list[Figure]:
    """Return what became of the actions that are asked for, each with the words that follow its figures."""
    return [
        shorter(now["summary"][action]["median"], before["summary"][action]["median"], what)
        for action, what in asked.items()
    ]


def _experiments(result: dict[str, Any]) -> list[Figure]:
    """Return what the comparison takes in a small experiment, beside a large one in the same database."""
    found = []
    for backend in BACKENDS:
        if any(case["backend"] == backend for case in of_part(result, "mlflow")):
            case = _largest(result, backend)
            alone_s, all_s = (case["summary"][action]["median"] for action in (ALONE, COMPARISON))
            beside = f"for the comparison, beside {case['size']:,} runs ({backend})"
            found.append(shorter(alone_s, all_s, beside))
    return found


def _rates(result: dict[str, Any], asked: str, clients: int, what: str) -> list[Figure]:
    """Return the answers a second of the last way of serving on Postgres that was measured instead of the first.

    Rows with errors or a backlog say nothing; where they leave nothing to compare, that is told.
    """
    rows = [
        each for each in with_backlogs(result["crowds"])
        if each["asked"] == asked and each["clients"] == clients and each["backend"].startswith("Postgres")
    ]  # fmt: skip
    if len(rows) < 2:
        return []
    clear = [each for each in rows if is_clear(each)]
    if len(clear) < 2:
        return [Figure(f"{what}, as the servers had errors or perhaps a backlog", None)]
    before, now = clear[0], clear[-1]
    now_how, before_how = (each["backend"].partition(": ")[2] for each in (now, before))
    text = f"{now['per_s']:.1f} ({now_how}) instead of {before['per_s']:.1f} ({before_how}) {what}"
    return [Figure(text, now["per_s"] >= (1 + ENOUGH) * before["per_s"])]


def _largest(result: dict[str, Any], backend: str) -> Case:
    same = [case for case in of_part(result, "mlflow") if case["backend"] == backend]
    return max(same, key=lambda case: int(case["size"]))
