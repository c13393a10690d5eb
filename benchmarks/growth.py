"""How wall time and peak memory grow: with images, steps, hidden size, and the number of nets in a run."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import yaml
from matplotlib.figure import Figure

from benchmarks.conditions import closing, conditions
from benchmarks.growing import TINY, TINY_NET, UPDATES, write_sequences
from benchmarks.memory import PeakMemory, tree_of
from benchmarks.page import cell
from benchmarks.rounds import MIN_ROUNDS, Contender, Spread, load_of, spread, take_turns
from benchmarks.runs import adopt_orphans, alone_in
from benchmarks.style import draw_curve, figure_with_axes, grow_along
from benchmarks.suite import ROOT, Plan, Result

NAME = "growth"
PLACE = 8
MEMORY_KINDS = {"anonymous_mib": "anonymous", "resident_mib": "resident"}
VARIANTS_A_SEED = 8
LOOK_EVERY_S = 0.25

Measurement = dict[str, float]


@dataclass(frozen=True)
class Curve:
    """What grows: the sizes, those of the quick version, what a size counts, what is done with it; most rounds."""

    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    label: str
    work: str
    rounds: int = MIN_ROUNDS


CURVES = {
    "images": Curve(
        (10_000, 30_000, 100_000, 300_000, 1_000_000),
        (1_000, 2_000),
        "training images",
        "an epoch of a tiny net (one layer of 8, 1,000 an update) from disk, with journal and checkpoints",
    ),
    "steps": Curve(
        (28, 56, 112, 196, 392, 784),
        (28, 56),
        "steps of 784 pixels in all",
        "an update of `gru` (two layers of 128)",
    ),
    "hidden": Curve(
        (16, 32, 64, 128, 256, 512), (8, 16), "hidden size", "an update of `gru` (two layers, 28 steps)"
    ),
    "variants": Curve(
        (1, 8, 40, 200),
        (1, 2),
        "nets in a run",
        "a whole run on `digits`: tiny nets, one epoch each, evaluated, logged, the best registered",
        rounds=1,  # the largest takes half an hour
    ),
}


def measure(plan: Plan) -> Result:
    """Return for each curve the rounds: seconds and peak memory by size."""
    adopt_orphans()
    curves: dict[str, dict[str, Any]] = {}
    for kind, curve in CURVES.items():
        sizes = curve.quick if plan.quick else curve.sizes
        with tempfile.TemporaryDirectory() as name:
            rounds = measure_curve(kind, sizes, min(plan.rounds, curve.rounds), Path(name))
        curves[kind] = {"sizes": sizes, "rounds": rounds, "summary": summary_of(kind, sizes, rounds)}
    return {
        "conditions": conditions(1, updates=UPDATES, variants_a_seed=VARIANTS_A_SEED),
        "load": load_of(each for curve in curves.values() for each in curve["rounds"]),
        "curves": curves,
        "summary": {kind: curve["summary"] for kind, curve in curves.items()},
    }


def measure_curve(kind: str, sizes: tuple[int, ...], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Return the rounds of a curve; all sizes take turns, each time in a new process."""
    found: dict[str, list[Measurement]] = {str(size): [] for size in sizes}

    def contender(size: int) -> Contender:
        place = folder / str(size)
        place.mkdir()
        if kind == "images":
            write_sequences(place, size)
        run: Callable[[], Measurement] = (
            (lambda: run_pipeline(size, place)) if kind == "variants" else (lambda: run_alone(kind, size, place))
        )

        def work() -> float:
            found[str(size)].append(run())
            return found[str(size)][-1]["wall_s"]

        return work

    measured = take_turns(
        {str(size): contender(size) for size in sizes}, rounds, f"growth of {kind}", least=CURVES[kind].rounds
    )
    for number, each in enumerate(measured):
        for memory in MEMORY_KINDS:
            each[memory] = {size: measurements[number][memory] for size, measurements in found.items()}
    return measured


def run_alone(kind: str, size: int, folder: Path) -> Measurement:
    """Return what one size took in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growing", kind, str(size), str(folder)]
    environment = {**os.environ, "RNNPIPE_LOCKS": str(folder)}
    found = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout
    measurement: Measurement = json.loads(found)
    return measurement


def run_pipeline(total: int, folder: Path) -> Measurement:
    """Return the seconds of `rnnpipe run` with this many tiny nets, and the memory of all its processes."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        config = Path(name) / "growth.yaml"
        config.write_text(yaml.safe_dump(pipeline_config(total)), encoding="utf-8")
        command = [sys.executable, "-m", "rnnpipe", "run", str(config)]
        started_s = perf_counter()
        with (
            subprocess.Popen(command, cwd=name, env=alone_in(Path(name)), stdout=subprocess.DEVNULL) as run,
            PeakMemory(lambda: tree_of(run.pid), LOOK_EVERY_S) as memory,
        ):
            code = run.wait()
        assert code == 0, f"the run of {total} nets ended with code {code}"
        return {"wall_s": perf_counter() - started_s, **memory.peak._asdict()}


def pipeline_config(total: int) -> dict[str, Any]:
    """Return a config of `total` tiny nets: up to 8 variants, the rest by seeds."""
    variants = min(total, VARIANTS_A_SEED)
    seeds = total // variants
    assert variants * seeds == total, f"{total} is no multiple of {variants}"
    return {
        "name": "growth",
        "data": {"name": "digits"},
        "variants": [{**TINY_NET, "hidden_size": 2 + number} for number in range(variants)],
        "seeds": list(range(seeds)),
        "training": {"epochs": 1, "batch_size": 1000, "preflight": False},
        "execution": TINY["execution"],
        "evaluation": {"latency_repeats": 10},
    }


def summary_of(kind: str, sizes: tuple[int, ...], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spread of each measure by size; for variants also the ms that each more than the first adds."""
    names = [str(size) for size in sizes]
    keys = ("wall_s", *MEMORY_KINDS)
    summary: dict[str, Any] = {
        key: {name: spread(each[key][name] for each in rounds) for name in names} for key in keys
    }
    if kind == "variants":
        first = str(min(sizes))
        summary["added_ms"] = {
            str(size): spread(
                1000 * (each["wall_s"][str(size)] - each["wall_s"][first]) / (size - min(sizes)) for each in rounds
            )
            for size in sizes
            if size > min(sizes)
        }
    return summary


def ratios(result: Result) -> dict[str, Spread]:
    """Return how flat things are, 1 being flat: memory against images, the cost of a net against their number."""
    images, variants = result["curves"]["images"], result["curves"]["variants"]
    memory = [_first_to_last(each["anonymous_mib"]) for each in images["rounds"]]
    flat = {"memory, fewest to most images": spread(memory)}
    added = variants["summary"]["added_ms"]
    if len(added) > 1:
        few, many = (added[min(added, key=int)], added[max(added, key=int)])
        flat["cost of a net, few to many nets"] = {
            "median": few["median"] / many["median"],
            "min": few["min"] / many["max"],
            "max": few["max"] / many["min"],
        }
    return flat


def section(result: Result) -> str:
    """Return the section: a table for each curve, and the load."""
    tables = "\n\n".join(_table(kind, curve) for kind, curve in result["curves"].items())
    return f"""## Growth

Wall time and peak memory on one thread, each size in processes of its own. Anonymous memory is what only the
process holds; resident memory also counts the pages of mapped files, which the system takes back whenever it needs
them. For runs it is the sum over all their processes.

{tables}

![Wall time against size](growth_time.png)

![Peak memory against size](growth_memory.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return two figures: time and memory against each size."""
    time, time_axes = figure_with_axes(len(CURVES), title="Seconds: median and range")
    memory, memory_axes = figure_with_axes(len(CURVES), title="Peak memory, MiB: median and range")
    for place, (kind, curve) in enumerate(CURVES.items()):
        summary = result["curves"][kind]["summary"]
        draw_curve(time_axes[place], 1, "wall time", _by_size(summary["wall_s"]))
        for number, (key, label) in enumerate(MEMORY_KINDS.items(), start=1):
            draw_curve(memory_axes[place], number, label, _by_size(summary[key]))
        for axes in (time_axes[place], memory_axes[place]):
            grow_along(axes, map(int, summary["wall_s"]), curve.label)
        time_axes[place].set_yscale("log")
        memory_axes[place].set_ylim(bottom=0)
    memory_axes[0].legend(frameon=False, fontsize=8)
    return {"growth_time": time, "growth_memory": memory}


def _table(kind: str, curve: dict[str, Any]) -> str:
    summary, added = curve["summary"], curve["summary"].get("added_ms")
    unit, factor = ("ms", 1000) if kind in ("steps", "hidden") else ("s", 1)
    often = {1: "once"}.get(len(curve["rounds"]), f"{len(curve['rounds'])} times")
    head = f"| {CURVES[kind].label} | {CURVES[kind].work}, {unit} ({often}) | anonymous, MiB | resident, MiB |"
    lines = [head + " each more, ms |" * bool(added), "|---|---|---|---|" + "---|" * bool(added)]
    for size in sorted(summary["wall_s"], key=int):
        cells = [cell(summary["wall_s"][size], 1, factor), *(cell(summary[key][size], 0) for key in MEMORY_KINDS)]
        if added:
            cells.append(cell(added[size], 0) if size in added else "")
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_size(spreads: dict[str, Spread]) -> dict[float, Spread]:
    return {float(size): each for size, each in spreads.items()}


def _first_to_last(values: dict[str, float]) -> float:
    return values[min(values, key=int)] / values[max(values, key=int)]
