"""What the figures are to reach, and the sentence about those that don't."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MET, MISSED = "All goals are met here.", "Below its goal here: "

Goals = Mapping[str, Mapping[str, float]]  # by contender and variant: how many times as fast as the reference


def judged(found: Iterable[tuple[str, float, float]]) -> str:
    """Return the sentence about figures, each as (name, median, goal): which are below their goal."""
    short = [f"{name} {value:.3g} of {goal:g}" for name, value, goal in found if value < goal]
    return f"{MISSED}{', '.join(short)}." if short else MET


def judged_ratios(cases: Sequence[Mapping[str, Any]], goals: Goals, labels: Mapping[str, str]) -> str:
    """Return the sentence about the ratios of cases; where their threads differ, of those with most."""
    most = max(case.get("threads", 0) for case in cases)
    return judged(
        (f"`{case['variant']}` {labels[name]}", case["summary"]["ratio"][name]["median"], goal[case["variant"]])
        for case in cases
        for name, goal in goals.items()
        if case.get("threads", most) == most and name in case["summary"]["ratio"] and case["variant"] in goal
    )


def is_verdict(paragraph: str) -> bool:
    """Say whether a paragraph is such a sentence."""
    return paragraph == MET or paragraph.startswith(MISSED)
