"""Which rows of a crowd are of a server that may still have been busy with what earlier clients had given up."""

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
BACKLOG, PERHAPS = "backlog", "perhaps a backlog"
WAITED = "quiet_after_s"  # rows have it since the benchmark waits after each case; None: the server stayed slow


def with_backlogs(crowds: Iterable[Row]) -> list[Row]:
    """Return the rows with `backlog` (BACKLOG, PERHAPS or an empty text) and `has_refusals`.

    Where nobody waited after a case, the row right after one with errors has a backlog, and each later one of the
    same server perhaps: requests that clients gave up are worked on nevertheless, for an unknown time.
    `has_refusals`: answers without success are among its answers, as they were once counted.
    """
    told: list[Row] = []
    left: dict[tuple[str, str], str] = {}
    for each in crowds:
        server = each.get("part", ""), each["backend"]
        found = left.get(server, "")
        has_refusals = WAITED not in each and any(kind.isdigit() for kind in each.get("kinds_of_errors", ()))
        told.append({**each, "backlog": found, "has_refusals": has_refusals})
        left[server] = _left_by(each, found)
    return told


def is_clear(row: Row) -> bool:
    """Return whether a row of `with_backlogs` says what the server can do: it has neither errors nor a backlog."""
    return not row["errors"] and not row["backlog"]


def note_on(rows: list[Row]) -> str:
    """Return what has to be known to read rows of `with_backlogs`, in sentences."""
    told = []
    if all(WAITED in each for each in rows):
        told.append(
            "Only successful answers are counted as answers. The next clients began when one client alone was"
            " answered as quickly as before, or after five minutes."
        )
    if any(each["backlog"] for each in rows):
        told.append(
            f'"{BACKLOG.capitalize()}": the case before it had errors, or left the server slow, so the server is'
            " taken to have been at work on requests that clients had given up, and the row says little of"
            f' what the server can do. "{PERHAPS.capitalize()}": a later row of that server, of which nobody knows'
            " whether it had come to the end of them. No gain is taken from such rows."
        )
    if any(each["has_refusals"] for each in rows):
        told.append(
            '"At most": answers without success (such as 400) are counted among the answers, and also as errors.'
        )
    return " ".join(told)


def _left_by(row: Row, found: str) -> str:
    """Return what a row leaves for the next one of its server, where it found this."""
    if WAITED in row:
        return BACKLOG if row[WAITED] is None else ""
    if row["errors"]:
        return BACKLOG
    return PERHAPS if found else ""
