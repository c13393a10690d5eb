"""What settings were worth, as docs/SCALE.md says it: one figure instead of another, both measured."""

from typing import Any

from benchmarks.scaling.tables import Case, of_part, time_text

NAMES = ("find", "start", "sorting", "logged", "compared", "listed")  # in the texts of paper.HELP
UNKNOWN = "(not measured)"


def gains(result: dict[str, Any]) -> dict[str, str]:
    """Return the texts by their names; what was left out of a measurement says so."""
    found = dict.fromkeys(NAMES, UNKNOWN)
    changed = of_part(result, "mlflow setting")
    if len(changed) == 2:
        indexed, sorting = changed
        backend = indexed["backend"].partition(":")[0]
        same = [case for case in of_part(result, "mlflow") if case["backend"] == backend]
        plain = max(same, key=lambda case: int(case["size"]))
        found["find"] = _instead(indexed, plain, "find a run by its key")
        found["start"] = _instead(indexed, plain, "start a run")
        found["sorting"] = _instead(sorting, indexed, "comparison: 100 runs, best first")
    found["logged"] = _rates(result, "log 6 points", 10)
    found["compared"] = _rates(result, "comparison", 10)
    found["listed"] = _rates(result, "newest flow runs", 100)
    return found


def _instead(now: Case, before: Case, action: str) -> str:
    return " instead of ".join(time_text(case["summary"][action]["median"]) for case in (now, before))


def _rates(result: dict[str, Any], asked: str, clients: int) -> str:
    """Return the answers a second of the last way of serving on Postgres that was measured, and of the first."""
    rates = [
        each["per_s"] for each in result["crowds"]
        if each["asked"] == asked and each["clients"] == clients and each["backend"].startswith("Postgres")
    ]  # fmt: skip
    return f"{rates[-1]:.1f} instead of {rates[0]:.1f}" if len(rates) > 1 else UNKNOWN
