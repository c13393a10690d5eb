"""What a measurement left out, and why, in words for people."""

import re
from collections.abc import Iterator
from typing import Any

MAX_REASON = 200
TO_ITS_END = " to its end "
TIMED_OUT = re.compile(r"Timeout (\d+)ms exceeded")  # how Playwright says it
SENTENCE_END = re.compile(r"\n|(?<=[.!?])\s")
KIND = re.compile(r"^\w+(?:Error|Exception): (?=\S+ \S)")  # whoever reads a whole sentence needs no class's name


def ended_early(name: str, error: Exception) -> str:
    """Return that a part wasn't measured to its end, and why."""
    return f"{name}{TO_ITS_END}({for_people(f'{type(error).__name__}: {error}')})"


def for_people(message: str) -> str:
    """Return the first sentence of an error's message; logs and statements that follow are for who mends it."""
    first = SENTENCE_END.split(message.strip(), maxsplit=1)[0].rstrip(". ")
    if found := TIMED_OUT.search(first):
        return f"a page in the browser didn't show within {int(found[1]) / 1000:g} s what it was opened for"
    return KIND.sub("", first)[:MAX_REASON]


def left_out(result: dict[str, Any]) -> str:
    """Return in sentences what was left out and why, and of what there are no figures; nothing if all is there."""
    if not result["skipped"]:
        return ""
    told = f"Left out: {'; '.join(_worded(each) for each in result['skipped'])}."
    lacking = ", ".join(_lacking(result))
    return f"{told} There are no figures of: {lacking}." if lacking else told


def _worded(skipped: str) -> str:
    """Return what was skipped with its reason for people, as older results have the whole message."""
    name, found, reason = skipped.partition(f"{TO_ITS_END}(")
    return f"{name}{found}{for_people(reason.removesuffix(')'))})" if found else skipped


def _lacking(result: dict[str, Any]) -> Iterator[str]:
    """Yield what should have been measured on which database and wasn't."""
    for part, name in (("mlflow", "MLflow"), ("prefect", "Prefect")):
        for backend in ("SQLite", "Postgres"):
            planned = result["conditions"]["sizes"][backend.lower()]
            cases = [case for case in result["cases"] if (case["part"], case["backend"]) == (part, backend)]
            there = {case["size"] for case in cases}
            missing = [f"{size:,}" for size in planned if size not in there]
            if not there:
                yield f"{name} on {backend}"
                continue
            if missing:
                yield f"{name} on {backend} with {' and '.join(missing)} runs"
            if not any(each["part"] == part and each["backend"].startswith(backend) for each in result["crowds"]):
                yield f"many clients of {name} on {backend}"
