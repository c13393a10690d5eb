"""The same work, faster: milliseconds an update in the tutorial's loop and in rnnpipe's."""

from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.conditions import closing, conditions, not_measured
from benchmarks.goals import judged_ratios
from benchmarks.loops import (
    BATCH,
    CPU,
    PipelineLoop,
    TutorialLoop,
    lightning_loop,
    network_with,
    spec_of,
    with_threads_for,
)
from benchmarks.loops import synthetic_images as images_of
from benchmarks.page import cell
from benchmarks.rounds import Contender, load_of, ratios_of_cases, summarize, take_turns
from benchmarks.style import draw_bars, figure_with_axes, group_of
from benchmarks.suite import Plan, Result
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import choose_precision, set_threads

NAME = "training"
PLACE = 2
VARIANTS = ("rnn", "gru", "lstm")
REFERENCE = "tutorial"
LABELS = {
    REFERENCE: "tutorial loop",
    "lightning": "Lightning trainer",
    "torch": "rnnpipe, torch's kernels",
    "compiled": "rnnpipe, compiled kernels",
    "bf16": "rnnpipe, bf16",
}
GOALS = {
    "torch": {"rnn": 2.2, "gru": 1.3, "lstm": 1.4},
    "compiled": {"rnn": 3.5, "gru": 2.7, "lstm": 1.6},
    "bf16": {"lstm": 2.0},
}
WARM_UP_UPDATES = 3
UPDATES, QUICK_UPDATES = 60, 5


def measure(plan: Plan) -> Result:
    """Return for each variant and thread count the seconds of each loop, round by round."""
    torch.set_flush_denormal(True)  # as in rnnpipe's trainings; set for all
    updates = QUICK_UPDATES if plan.quick else UPDATES
    counts = [plan.threads] if plan.threads else sorted({1} if plan.quick else {1, cpu_cores()})
    cases = []
    for threads in counts:
        set_threads(threads)
        cases += [measure_case(name, threads, updates, plan.rounds) for name in VARIANTS]
    return {
        "conditions": conditions(counts, batch_size=BATCH, updates_per_round=updates, precision="fp32"),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "summary": {f"{case['variant']}, {case['threads']} threads": case["summary"]["ratio"] for case in cases},
    }


def measure_case(variant: str, threads: int, updates: int, rounds: int) -> dict[str, Any]:
    """Return the rounds of all loops for a variant, their summary, and which loops there couldn't be, and why."""
    warm_up, _ = contenders(variant, WARM_UP_UPDATES)
    for train in warm_up.values():
        train()
    present, absent = contenders(variant, updates)
    measured = take_turns(present, rounds, f"{variant}, {threads} threads")
    summary = summarize(measured, REFERENCE)
    case = {"variant": variant, "threads": threads, "updates": updates, "rounds": measured, "absent": absent}
    return {**case, "summary": summary}


def contenders(variant: str, updates: int) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return the loops by name, each to make a pass of this many updates; and why some can't be there."""
    images, spec = images_of(updates * BATCH), spec_of(variant)
    present: dict[str, Contender] = {REFERENCE: with_threads_for(None, TutorialLoop(variant, *images).train)}
    absent: dict[str, str] = {}
    trainer = lightning_loop(variant, images)
    if trainer is None:
        absent["lightning"] = "Lightning isn't installed"
    else:
        present["lightning"] = with_threads_for(None, trainer)
    for kernels in ("torch", "compiled"):
        network, reason = network_with(spec, kernels)
        if network is None:
            absent[kernels] = reason
        else:
            present[kernels] = with_threads_for(network, PipelineLoop(network, variant, images).train)
    precision, reason = choose_precision(CPU, "bf16")
    if variant == "lstm" and precision == "bf16":
        loop = PipelineLoop(build_network(spec, seed=0), variant, images, "bf16")
        present["bf16"] = with_threads_for(None, loop.train)
    elif variant == "lstm":
        absent["bf16"] = reason.removeprefix("fp32: ")
    return present, absent


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the tutorial's loop each other one is."""
    return ratios_of_cases(result["cases"])


def section(result: Result) -> str:
    """Return the section: what was compared, a table, what was absent, and the load."""
    known = result["conditions"]
    used = [name for name in LABELS if any(name in case["summary"]["wall_s"] for case in result["cases"])]
    heads = [LABELS[name] for name in used]
    rows = [
        f"| {case['variant']} | {case['threads']} | {' | '.join(_cell(case, name) for name in used)} |"
        for case in result["cases"]
    ]
    absent = [(LABELS[name], why) for case in result["cases"] for name, why in case["absent"].items()]
    return f"""## The same work, faster

Milliseconds an update, and in bold how many times as fast as the tutorial's loop that is. The tutorial's loop is
`DataLoader`, `ToTensor` on one image at a time, Adam, torch's defaults; Lightning's is the same in a `Trainer`.
All do the same work: the same net (two layers of 128), the same number of updates of {known["batch_size"]} images
of 28 x 28 pixels, read as rows, in fp32 where nothing else is said, on synthetic images; in fp32 the weights come
out equal within rounding (`tests/benchmarks/test_loops.py`). Fetching images is in all figures. Validation,
checkpoints and the journal's file are in none: they come once an epoch, or twice a second. The goals for `rnn`,
`gru` and `lstm` with two threads are 2.2, 1.3 and 1.4 times with torch's kernels, 3.5, 2.7 and 1.6 with compiled
ones, and 2 for `lstm` in bf16.

| variant | threads | {" | ".join(heads)} |
|---|---|{"---|" * len(used)}
{chr(10).join(rows)}

{judged_ratios(result["cases"], GOALS, LABELS)}

{result["load"]["rounds"]} rounds of {known["updates_per_round"]} updates in all. {not_measured(absent)}

![Times the tutorial's speed, for each variant and number of threads](training_speed.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: ratios to the tutorial's loop, a group of bars for each case."""
    figure, (axes,) = figure_with_axes(title="Speed beside the tutorial's loop: median and range of the rounds")
    groups = [group_of(case["variant"], case["threads"]) for case in result["cases"]]
    found = [[case["summary"]["ratio"].get(name) for case in result["cases"]] for name in LABELS]
    series = {LABELS[name]: spreads for name, spreads in zip(LABELS, found, strict=True) if any(spreads)}
    draw_bars(axes, groups, series)
    axes.axhline(1, color="#666666", linewidth=0.8)
    axes.set_ylabel("times the tutorial's speed")
    axes.legend(frameon=False, fontsize=8)
    return {"training_speed": figure}


def _cell(case: dict[str, Any], name: str) -> str:
    summary = case["summary"]
    if name not in summary["wall_s"]:
        return "-"
    update_ms = cell(summary["wall_s"][name], 1, 1000 / case["updates"])
    return update_ms if name == REFERENCE else f"{update_ms} **{cell(summary['ratio'][name])}**"
