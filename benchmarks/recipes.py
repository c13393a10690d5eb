"""The shipped recipes end to end beside the whole tutorial loop: how soon they are as accurate, and how accurate.

MNIST comes as for any run: from the mirrors in RNNPIPE_MIRRORS, then from the dataset's own.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.conditions import closing, conditions
from benchmarks.goals import judged_ratios
from benchmarks.loops import BATCH
from benchmarks.page import cell
from benchmarks.recipe import CONFIGS, REFERENCE, TUTORIAL_EPOCHS, place_of
from benchmarks.rounds import Contender, load_of, ratios_of_cases, spread, summarize, take_turns
from benchmarks.style import COLORS, MARKERS, figure_with_axes
from benchmarks.suite import ROOT, Plan, Result
from rnnpipe.processes.slots import cpu_cores

NAME = "recipes"
PLACE = 1
# What the tutorial's loop reaches in its two epochs: the accuracy that the sprint runs for.
WANTED = {"rnn": 0.936, "gru": 0.973, "lstm": 0.970}
LABELS = {
    REFERENCE: "tutorial loop",
    "sprint": "`sprint.yaml`",
    "sprint, torch": "`sprint.yaml`, torch's kernels",
    "mnist": "`mnist.yaml`",
}
GOALS = {
    "sprint": {"rnn": 10.0, "gru": 10.0, "lstm": 7.0},
    "sprint, torch": {"rnn": 7.0, "gru": 5.0, "lstm": 5.0},
    "mnist": {"rnn": 1.0, "gru": 1.0, "lstm": 1.0},
}


def measure(plan: Plan) -> Result:
    """Return for each variant the seconds and test accuracies of each way, a seed a round."""
    threads = plan.threads or cpu_cores()
    with TemporaryDirectory() as name:
        for way in CONFIGS:
            place_of(way, Path(name), plan.quick)  # the images, once
        variants = list(WANTED)[: 1 if plan.quick else 3]
        cases = [measure_case(variant, plan, threads, Path(name)) for variant in variants]
    return {
        "conditions": conditions(
            threads, tutorial_batch=BATCH, tutorial_epochs=TUTORIAL_EPOCHS, seeds=plan.rounds
        ),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "summary": {case["variant"]: case["summary"] for case in cases},
    }


def measure_case(variant: str, plan: Plan, threads: int, folder: Path) -> dict[str, Any]:
    """Return the rounds of a variant; each way meets the seeds 0, 1, 2, … in its turn, in a process of its own."""
    accuracies: dict[str, list[float]] = {}

    def contender(way: str) -> Contender:
        def work() -> float:
            found = accuracies.setdefault(way, [])
            command = [sys.executable, "-m", "benchmarks.recipe", way, variant, str(len(found)), str(threads)]
            told = subprocess.run(
                [*command, str(folder), *["quick"] * plan.quick], cwd=ROOT, stdout=subprocess.PIPE, check=True
            ).stdout
            result: dict[str, float] = json.loads(told)
            found.append(result["accuracy"])
            return result["wall_s"]

        return work

    measured = take_turns({way: contender(way) for way in LABELS}, plan.rounds, variant)
    summary = summarize(measured, REFERENCE)
    summary["accuracy"] = {name: spread(found) for name, found in accuracies.items()}
    return {"variant": variant, "rounds": measured, "accuracies": accuracies, "summary": summary}


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the whole tutorial loop each recipe is, from the files to the accuracy."""
    return ratios_of_cases(result["cases"])


def section(result: Result) -> str:
    """Return the section: what was compared, a table, and the load."""
    known = result["conditions"]
    rows = [_row(case, name) for case in result["cases"] for name in LABELS]
    wanted = ", ".join(f"`{name}` {100 * accuracy:.1f} %" for name, accuracy in WANTED.items())
    return f"""## From the files to the accuracy

The whole tutorial loop ({known["tutorial_epochs"]} epochs of all 60,000 images, batches of
{known["tutorial_batch"]}, then its test loop) beside the shipped recipes, each from MNIST's files on the disk to
the accuracy on the 10,000 test images, {known["seeds"]} seeds, {known["threads"]} threads. Importing torch, making
sequences of the images (once for all runs), the pre-flight check, Prefect, MLflow and checkpoints are not in the
figures. The sprint's marks, taken from earlier runs of the tutorial's loop, are {wanted}.
A median [smallest to largest] over the seeds; bold: how many times as fast as the tutorial's loop. The sprint's
goals for `rnn`, `gru` and `lstm` are 10, 10 and 7 times, with torch's kernels 7, 5 and 5; `mnist.yaml` is to take
no longer than the tutorial.

| variant | recipe | seconds | times as fast | test accuracy, % | seeds at or above the mark |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{judged_ratios(result["cases"], GOALS, LABELS)}

![Test accuracy against seconds, each seed](recipes.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: the test accuracy of each seed against its seconds, a panel a variant."""
    cases = result["cases"]
    figure, axes = figure_with_axes(len(cases), title="Test error against seconds, from the files on: each seed")
    for panel, case in zip(axes, cases, strict=True):
        for place, (name, label) in enumerate(LABELS.items()):
            seconds = [each["wall_s"][name] for each in case["rounds"]]
            errors = [100 * (1 - accuracy) for accuracy in case["accuracies"][name]]
            panel.plot(seconds, errors, MARKERS[place], color=COLORS[place], label=label.replace("`", ""))
        panel.axhline(100 * (1 - WANTED[case["variant"]]), color="#666666", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        panel.set_title(case["variant"], fontsize=9)
        panel.set_xlabel("seconds")
    axes[0].set_ylabel("test error, %")
    axes[0].legend(frameon=False, fontsize=7)
    return {"recipes": figure}


def _row(case: dict[str, Any], name: str) -> str:
    summary, variant = case["summary"], case["variant"]
    faster = "" if name == REFERENCE else f"**{cell(summary['ratio'][name], 1)}**"
    found = case["accuracies"][name]
    reached = sum(accuracy >= WANTED[variant] for accuracy in found)
    wall_s, accuracy = cell(summary["wall_s"][name], 1), cell(summary["accuracy"][name], 2, 100)
    return f"| {variant} | {LABELS[name]} | {wall_s} | {faster} | {accuracy} | {reached} of {len(found)} |"
