"""Today, and ten, a thousand and a hundred thousand times as much: plain arithmetic on the measured figures."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks.scaling.backlog import is_clear, with_backlogs
from benchmarks.scaling.tables import NOTICED_S, Case, called, size_text, table, time_text

TRAININGS, IMAGES, USERS = 100, 70_000, 1
FACTORS = (1, 10, 1_000, 100_000)
IMAGE_BYTES = 28 * 28  # of MNIST, as the store keeps it
LOOKS_PER_S = 1 / 60  # a page a minute and user, while all of them are at work
PARTS = {"mlflow": "MLflow", "prefect": "Prefect", "store": "The workspace"}


class Course(NamedTuple):
    """How long an action takes on a backend, in seconds by number of runs, from the fewest on."""

    action: str
    backend: str
    points: list[tuple[int, float]]


def steps_table(result: dict[str, Any]) -> str:
    """Return what each step means for databases, files and servers."""
    bytes_a_run, bytes_a_flow, hashed_s = (
        _bytes_a_run(result, "mlflow"),
        _bytes_a_run(result, "prefect"),
        _hashing_s(result),
    )
    most, written = _best(result, "comparison"), _best(result, "log 6 points")
    heads = ["", *("today" if factor == 1 else f"{factor:,} times" for factor in FACTORS)]
    rows = [
        ["trainings in MLflow", *(f"{TRAININGS * factor:,}" for factor in FACTORS)],
        ["MLflow's database", *(size_text(bytes_a_run * TRAININGS * factor) for factor in FACTORS)],
        [
            "Prefect's, with a flow run a training",
            *(size_text(bytes_a_flow * TRAININGS * factor) for factor in FACTORS),
        ],
        ["images of 28 x 28", *(f"{IMAGES * factor:,}" for factor in FACTORS)],
        [
            "in the store, as images and as sequences",
            *(size_text(2 * IMAGE_BYTES * IMAGES * factor) for factor in FACTORS),
        ],
        ["in memory of them: labels and their order", *(size_text(16 * IMAGES * factor) for factor in FACTORS)],
        ["verified by each run in", *(time_text(hashed_s * IMAGES * factor) for factor in FACTORS)],
        ["users", *(f"{USERS * factor:,}" for factor in FACTORS)],
        ["pages a second, one a minute and user", *(f"{USERS * factor * LOOKS_PER_S:,.3g}" for factor in FACTORS)],
        [
            "machines like this one for MLflow's pages alone",
            *(_machines(USERS * factor * LOOKS_PER_S / most["per_s"]) for factor in FACTORS),
        ],
    ]
    note = (
        f"Machines: the best that was measured for the comparison with {most['size']:,} runs in one experiment is"
        f" {most['per_s']:.1f} a second ({most['backend']}). Epochs of trainings: {_at_most(written)} a"
        f" second ({written['backend']}). They count as long as one Postgres keeps up with them all. Verifying"
        f" reads at the speed of memory; from a disk it is the disk's. The last column is nothing that was"
        f" measured. Images are read in batches from a file that is mapped, not loaded: of each, memory holds 16"
        f" bytes."
    )
    return f"{table(heads, rows)}\n\n{note}"


def first_text(result: dict[str, Any]) -> str:
    """Return a list of what gives first in each part, and of what a crowd gets."""
    told = []
    for part, name in PARTS.items():
        cases = [case for case in result["cases"] if case["part"] == part and case["backend"] != "file"]
        told.append(f"- {name}: {_given(_courses(cases))}.")
    most = _best(result, "comparison")
    told.append(
        f"- Of many users: {most['clients']} at once get {most['per_s']:.1f} comparisons of {most['size']:,} runs"
        f" a second in all, each after {time_text(most['median_ms'] / 1000)}, at best."
    )
    return "\n".join(told)


def _courses(cases: Iterable[Case]) -> list[Course]:
    """Return how each action grows on each backend, from the fewest runs to the most."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for case in cases:
        for action, each in case["summary"].items():
            found.setdefault((action, case["backend"]), []).append((case["size"], each["median"]))
    return [Course(called(action), backend, sorted(points)) for (action, backend), points in found.items()]


def _given(courses: Sequence[Course]) -> str:
    """Return what takes over a second from the start, then what grows beyond it, and of both the worst."""
    begun: list[tuple[int, float, Course]] = []
    grown: list[tuple[int, float, Course]] = []
    for course in courses:
        over = next(((size, seconds) for size, seconds in course.points if seconds > NOTICED_S), None)
        if over is not None:
            size, seconds = over
            (begun if over == course.points[0] else grown).append((size, -seconds, course))
    told = []
    if begun:
        size, seconds, course = min(begun, key=lambda each: (each[1], each[0]))
        last, last_s = course.points[-1]
        later = f" and {time_text(last_s)} with {last:,}" if last > size else ""
        told.append(
            f'already with {size:,} runs, at worst "{course.action}", {time_text(-seconds)}{later}'
            f" ({course.backend})"
        )
    if grown:
        size, seconds, course = min(grown)
        told.append(
            f'of what grows beyond a second, the first comes with {size:,} runs, at worst "{course.action}",'
            f" {time_text(-seconds)} ({course.backend})"
        )
    elif begun:
        told.append("nothing else grows beyond a second")
    return "; ".join(told) or ("nothing takes longer than a second" if courses else "not measured")


def _best(result: dict[str, Any], asked: str) -> dict[str, Any]:
    """Return what the quickest of MLflow's servers gave many clients, if possible without error and backlog."""
    known = [each for each in with_backlogs(result["crowds"]) if each["asked"] == asked]
    without = [each for each in known if not each["errors"]]
    found = [each for each in without if is_clear(each)] or without or known
    return dict(max(found, key=lambda each: float(each["per_s"])))


def _at_most(row: dict[str, Any]) -> str:
    """Return the answers a second of the best row; one with a backlog says only that there are so many."""
    return f"at {'least' if row['backlog'] else 'most'} {row['per_s']:.0f}"


def _bytes_a_run(result: dict[str, Any], part: str) -> float:
    """Return what one more run takes in the largest database of MLflow or Prefect."""
    cases = [case for case in result["cases"] if case["part"] == part]
    largest = max(cases, key=lambda case: (case["size"], case["backend"] == "Postgres"))
    same = [case for case in cases if case["backend"] == largest["backend"]]
    smallest = min(same, key=lambda case: int(case["size"]))
    return float((largest["bytes"] - smallest["bytes"]) / (largest["size"] - smallest["size"]))


def _hashing_s(result: dict[str, Any]) -> float:
    """Return the seconds for an image."""
    (case,) = (case for case in result["cases"] if case["backend"] == "file")
    (each,) = case["summary"].values()
    return float(each["median"] / case["size"] * IMAGE_BYTES)


def _machines(share: float) -> str:
    return "less than one" if share < 1 else f"{share:,.0f}"
