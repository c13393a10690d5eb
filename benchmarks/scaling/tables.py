"""The tables of docs/SCALE.md, each from the cases of a result."""

from collections.abc import Iterable, Sequence
from typing import Any

Case = dict[str, Any]
NOTICED_S = 1.0  # what a person waits for without losing the thread (Nielsen, 1993)
CALLED = {"the same in an experiment of its own": "comparison in an experiment of its own"}


def of_part(result: dict[str, Any], *parts: str) -> list[Case]:
    """Return the cases of these parts."""
    return [case for case in result["cases"] if case["part"] in parts]


def called(action: str) -> str:
    """Return what an action is called on the page, where tables don't keep the order in which it was asked."""
    return CALLED.get(action, action)


def times_table(cases: Sequence[Case], what: str) -> str:
    """Return a table of times: a row an action, a column a backend and size."""
    names = dict.fromkeys(name for case in cases for name in case["summary"])
    heads = [f"{case['backend']}, {case['size']:,} {what}" for case in cases]
    rows = [
        [called(name), *(_time_cell(case["summary"].get(name)) for case in cases)]
        for name in names
    ]  # fmt: skip
    return table(["", *heads], rows)


def given_table(cases: Iterable[Case]) -> str:
    """Return a table of the actions that take more than a second at some size: since which, and how they grow."""
    found = []
    groups: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for case in cases:
        for name, each in case["summary"].items():
            groups.setdefault((case["part"], case["backend"], name), []).append((case["size"], each["median"]))
    for (part, backend, name), points in groups.items():
        over = [size for size, median_s in points if median_s > NOTICED_S]
        (first, first_s), (last, last_s) = min(points), max(points)
        if over and first < last:
            grown = f"{last_s / first_s:.1f} times from {first:,} to {last:,}"
            row = [part, backend, called(name), f"{min(over):,}", _seconds(last_s), grown]
            found.append((min(over), -last_s, row))
    rows = [row for *_, row in sorted(found)]
    return table(["", "on", "what", "over 1 s from", "at the largest size", "grows"], rows)


def changes_table(plain: Case, changed: Sequence[Case]) -> str:
    """Return a table of what settings changed: times before and after, of the actions that were asked in both."""
    heads = ["", "as it is", *(case["backend"].partition(": ")[2] for case in changed)]
    rows = [
        [called(name), *(_time_cell(case["summary"].get(name)) for case in (plain, *changed))]
        for name in changed[0]["summary"]
    ]
    return table(heads, rows)


def crowds_table(crowds: Iterable[dict[str, Any]]) -> str:
    """Return a table of what many clients got at once, from rows of `backlog.with_backlogs`."""
    rows = [
        [
            each["asked"], each["backend"], f"{each['clients']:,}", _rate(each),
            *(_seconds(each[name] / 1000) if each["answers"] else "-" for name in ("median_ms", "p95_ms")),
            f"{each['errors']:,}{_kinds(each)}",
        ]
        for each in crowds
    ]  # fmt: skip
    return table(["asked", "of", "clients", "answers a second", "median", "95 % within", "errors"], rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def size_text(size_bytes: float) -> str:
    """Return bytes as people read them."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000 or unit == "TB":
            return f"{size_bytes:,.3g} {unit}" if size_bytes < 1000 else f"{size_bytes:,.0f} {unit}"
        size_bytes /= 1000
    raise AssertionError


def time_text(seconds: float) -> str:
    """Return a length of time as people read it."""
    for limit, divisor, unit in ((1, 0.001, "ms"), (120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.3g} {unit}"
    return f"{seconds / 86_400:,.3g} days"


def _time_cell(each: dict[str, float] | None) -> str:
    if each is None:
        return "-"
    worked = f"; {_seconds(each['cpu_s'])}"
    if each["times"] == 1:
        return f"{_seconds(each['median'])} (once){worked}"
    in_ms = each["median"] < NOTICED_S
    median, low, high = (
        f"{1000 * each[key]:,.3g}" if in_ms and each[key] < NOTICED_S else f"{1000 * each[key]:,.0f}"
        if in_ms else f"{each[key]:,.2f}"
        for key in ("median", "min", "max")
    )  # fmt: skip
    return f"{median} {'ms' if in_ms else 's'} [{low} to {high}]{worked}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < NOTICED_S else f"{seconds:,.2f} s"


def _rate(each: dict[str, Any]) -> str:
    backlog = f" ({each['backlog']})" if each["backlog"] else ""
    return f"{'at most ' if each['has_refusals'] else ''}{each['per_s']:.1f}{backlog}"


def _kinds(each: dict[str, Any]) -> str:
    return f" ({', '.join(each['kinds_of_errors'])})" if each["kinds_of_errors"] else ""
