"""The contract of a benchmark, and where its results lie.

A benchmark is a module in this folder with `NAME` and the functions of `Benchmark` below; `python -m benchmarks`
finds it by that. Helpers: `rounds.take_turns` and `summarize`, `conditions.conditions` and `closing`, `style`.
"""

import importlib
import json
import pkgutil
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import benchmarks
from benchmarks.rounds import MIN_ROUNDS
from rnnpipe.files import read_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LAST_PLACE = 100

Result = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How to measure: `quick` for the smallest sizes, which only show that it works; None: the benchmark's own."""

    quick: bool = False
    threads: int | None = None
    rounds: int = MIN_ROUNDS


class Benchmark(Protocol):
    """What a module has. Optional are also `figures(result) -> {file stem: Figure}`,

    `ratios(result) -> {name: Spread or float}` (to the reference measured beside it; greater is better; what
    regressions are found by), `PLACE: int`, by which the sections of the page are sorted, `pages(result) ->
    {file name: text}`, pages of its own in docs/, and `ON_REQUEST = True`: measured only when it is named.
    """

    NAME: str

    def measure(self, plan: Plan) -> Result:
        """Return a JSON-able dictionary: `conditions`, every repeat, `summary` with medians and ranges.

        Where anything is timed, also `load`.
        """

    def section(self, result: Result) -> str:
        """Return the section of docs/PERFORMANCE.md, in Markdown, from "## " to `closing(result)`."""


def find_benchmarks() -> dict[str, Benchmark]:
    """Return all benchmarks by name, in the order of the page."""
    names = [each.name for each in pkgutil.iter_modules(benchmarks.__path__) if each.name != "__main__"]
    modules: list[Any] = [importlib.import_module(f"benchmarks.{name}") for name in names]
    found = [module for module in modules if hasattr(module, "NAME")]
    found.sort(key=lambda module: (getattr(module, "PLACE", LAST_PLACE), module.NAME))
    return {module.NAME: cast(Benchmark, module) for module in found}


def machine_of(result: Result) -> str:
    """Return the name of the machine that a result comes from, fit for a folder: ratios of another say nothing."""
    known = result["conditions"]
    words = re.findall(
        r"[a-z0-9]+", " ".join([known["device"], known.get("cpu_model", ""), known["cpu_capability"]]).lower()
    )
    return f"{'-'.join(words)}-{known['cores']}-cores"


def result_path(name: str, machine: str) -> Path:
    """Return where the result of a benchmark on a machine lies."""
    return RESULTS / machine / f"{name}.json"


def read_results(names: Iterable[str]) -> dict[str, list[Result]]:
    """Return the results that are there, by name: the newest of each machine, the newest of all first."""
    found: dict[str, list[Result]] = {}
    for name in names:
        of_machines: list[Result] = [read_json(path) for path in RESULTS.glob(f"*/{name}.json")]
        if of_machines:
            found[name] = sorted(of_machines, key=lambda each: each["conditions"]["measured_at"], reverse=True)
    return found


def committed_result(name: str, machine: str) -> Result | None:
    """Return the last committed result of a machine; without git or a commit, the file; None if there is none."""
    path = result_path(name, machine)
    command = ["git", "show", f"HEAD:{path.relative_to(ROOT).as_posix()}"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return read_json(path) if path.exists() else None
    return cast(Result, json.loads(found))
