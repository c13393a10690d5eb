"""How accurate the shipped recipes get in more epochs than the tutorial's, and with half the precision.

Each case is an ordinary run of the pipeline in the current workspace: what is stored there isn't trained again, so
a measurement that was stopped goes on. Accuracy doesn't depend on the load, and seconds don't stand here.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import torch
import yaml
from matplotlib.figure import Figure
from scipy.stats import t

from benchmarks.conditions import conditions, made, not_measured
from benchmarks.style import COLORS, figure_with_axes
from benchmarks.suite import ROOT, Plan, Result
from rnnpipe.config import PipelineConfig
from rnnpipe.config.loading import load_config
from rnnpipe.data.stages import dataset_recipe, sequences_recipe
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.references import Recipe
from rnnpipe.runtime import choose_precision
from rnnpipe.store import Entry, Store
from rnnpipe.training.job import training_recipe

NAME, HEADING = "accuracy", "Accuracy in more epochs"
PLACE = 9
CONFIDENCE = 0.95
BF16 = "execution.precision=bf16"


@dataclass(frozen=True)
class Case:
    """A config with what is changed in it, the variants taken from it, and the number of seeds.

    A pair that tells what bf16 costs is measured only where the CPU has it.
    """

    label: str
    config: str
    variants: tuple[str, ...]
    seeds: int = 5
    changes: tuple[str, ...] = ()
    needs_bf16: bool = False


CASES = (
    Case(
        "`mnist.yaml`, 6 epochs",
        "mnist.yaml",
        ("gru", "lstm"),
        changes=("training.epochs=6", "variants.1.epochs=6"),
    ),
    Case("`mnist-long.yaml`, 6 epochs", "mnist-long.yaml", ("gru",), changes=("training.epochs=6",)),
    Case("`mnist.yaml`, 10 epochs", "mnist.yaml", ("rnn",), changes=("variants.0.epochs=10",)),
    Case("`tutorial-rows.yaml`", "tutorial-rows.yaml", ("lstm",), needs_bf16=True),
    Case("`tutorial-rows.yaml`, bf16", "tutorial-rows.yaml", ("lstm",), changes=(BF16,), needs_bf16=True),
)
QUICK = ("data.name=digits", "training.epochs=1", "variants.0.epochs=1", "data.validation_fraction=0")


def measure(plan: Plan) -> Result:
    """Return for each case and variant the test accuracy of each seed."""
    return measure_cases(CASES[2:3] if plan.quick else CASES, plan)


def measure_cases(given: Sequence[Case], plan: Plan) -> Result:
    """Return what `measure` does, of these cases; quick ones are tried in a workspace that is thrown away."""
    with tempfile.TemporaryDirectory() as name:
        if plan.quick:
            os.environ["RNNPIPE_HOME"] = name
        return _measure(given, plan)


def _measure(given: Sequence[Case], plan: Plan) -> Result:
    cases: list[dict[str, Any]] = []
    absent: dict[str, str] = {}
    precision, reason = choose_precision(torch.device("cpu"), "bf16")
    for case in given:
        if case.needs_bf16 and precision != "bf16":
            absent[case.label] = reason.removeprefix("fp32: ")
            continue
        path = ROOT / "configs" / case.config
        overrides = _overrides(case, plan.quick)
        command = [sys.executable, "-m", "rnnpipe", "run", str(path)]
        command += [part for override in overrides for part in ("--set", override)]
        click.echo(f"{case.label}: {', '.join(case.variants)}, {case.seeds} seeds")
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        cases += _results(case, load_config(path, overrides))
    summary = {f"{case['label']}: {case['variant']}": case["mean"] for case in cases}
    return {"conditions": conditions(1), "cases": cases, "absent": absent, "summary": summary}


def _overrides(case: Case, quick: bool) -> list[str]:
    """Return what differs from the shipped config: variants, seeds, one thread; quickly, on small images."""
    shipped = load_config(ROOT / "configs" / case.config)
    chosen = [each.model_dump(mode="json") for each in shipped.variants if each.name in case.variants]
    changes = {
        "variants": yaml.safe_dump(chosen, default_flow_style=True, width=10_000).strip(),
        "seeds": str(list(range(case.seeds))),
        "execution.threads": "1",
        "registry.register_model": "false",
    }
    return [*(f"{name}={value}" for name, value in changes.items()), *case.changes, *(QUICK if quick else ())]


def _results(case: Case, config: PipelineConfig) -> list[dict[str, Any]]:
    """Return what the store holds of a case, a variant an entry."""
    store = Store.of_workspace()
    dataset = _stored(store, dataset_recipe(config.data))
    sequences = _stored(store, sequences_recipe(dataset.ref, config.data, config.sequence))
    found = []
    for variant in config.variants:
        of_seeds = [training_recipe(sequences.ref, config, variant, seed) for seed in config.seeds]
        trainings = [_stored(store, recipe) for recipe in of_seeds]
        measured_by = (config.evaluation, config.execution)
        recipes = [evaluation_recipe(each.ref.digest, sequences.ref, *measured_by) for each in trainings]
        accuracies = [_stored(store, recipe).ref.facts["accuracy"] for recipe in recipes]
        found.append(
            {
                "label": case.label,
                "variant": variant.name,
                "epochs": config.training_of(variant).epochs,
                "seeds": list(config.seeds),
                "accuracies": accuracies,
                "mean": mean_with_interval(accuracies),
            }
        )
    return found


def _stored(store: Store, recipe: Recipe) -> Entry:
    entry = store.find(recipe)
    assert entry is not None, f"the run left no {recipe.stage} of this recipe"
    return entry


def mean_with_interval(values: list[float]) -> dict[str, float]:
    """Return the mean over the seeds with its 95 % interval by Student's t."""
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / len(values) ** 0.5
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def section(result: Result) -> str:
    """Return the section: a table of the cases."""
    return section_under(HEADING, result)


def section_under(heading: str, result: Result) -> str:
    """Return a section with this heading."""
    rows = [_row(case) for case in result["cases"]]
    return f"""## {heading}

Test accuracy on MNIST's 10,000 test images: the mean over the seeds with its 95 % interval (Student's t), the
lowest and the highest seed. Ordinary runs of the pipeline, one thread a training, as many at a time as there are
cores; the best epoch is chosen on validation images where a config has them.

| config | variant | epochs | seeds | mean, % | 95 % interval | lowest to highest |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

{not_measured(result["absent"].items())}

![Test accuracy of each seed, and the mean with its interval]({_stem(heading)}.png)

{made(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: a row for each case, a dot for each seed."""
    return figures_under(HEADING, result)


def figures_under(heading: str, result: Result) -> dict[str, Figure]:
    """Return the figure of a section with this heading: a dot a seed, the mean with its interval above them."""
    figure, (axes,) = figure_with_axes(title=f"{heading}: each seed, and the mean with its 95 % interval, %")
    cases = result["cases"][::-1]  # the first at the top
    for place, case in enumerate(cases):
        found, mean = [100 * each for each in case["accuracies"]], case["mean"]
        reach = 100 * (mean["high"] - mean["mean"])
        axes.plot(found, [place - 0.12] * len(found), "o", color=COLORS[1], alpha=0.6)
        axes.errorbar(100 * mean["mean"], place + 0.12, xerr=reach, fmt="s", color=COLORS[0], capsize=3)
    axes.set_yticks(range(len(cases)), [f"{case['label'].replace('`', '')}: {case['variant']}" for case in cases])
    axes.set_ylim(-0.6, len(cases) - 0.4)
    axes.set_xlabel("test accuracy, %")
    return {_stem(heading): figure}


def _stem(heading: str) -> str:
    return heading.lower().replace(" ", "_")


def _row(case: dict[str, Any]) -> str:
    mean, found = case["mean"], [100 * each for each in case["accuracies"]]
    interval = f"{100 * mean['low']:.2f} to {100 * mean['high']:.2f}"
    what = f"{case['label']} | {case['variant']} | {case['epochs']} | {len(found)} | {100 * mean['mean']:.2f}"
    return f"| {what} | {interval} | {min(found):.2f} to {max(found):.2f} |"
