"""The shipped recipes end to end beside the whole tutorial loop: how soon they are as accurate, and how accurate.

MNIST comes as for any run: from the mirrors in RNNPIPE_MIRRORS, then from the dataset's own.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.data import DataLoader

from benchmarks.conditions import closing, conditions
from benchmarks.evaluation import EVALUATION_BATCH, tutorial_count
from benchmarks.loops import BATCH, CPU, TutorialImages, TutorialLoop
from benchmarks.page import cell
from benchmarks.rounds import Contender, load_of, spread, summarize, take_turns
from benchmarks.style import COLORS, MARKERS, figure_with_axes
from benchmarks.suite import ROOT, Plan, Result
from rnnpipe.config import PipelineConfig
from rnnpipe.config.loading import load_config
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, open_split, sequences_recipe
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.predict import predict
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import give_threads_to_kernels, seed_everything, set_threads
from rnnpipe.store import Entry, Store
from rnnpipe.training.data import open_training_data
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting

NAME = "recipes"
PLACE = 1
REFERENCE = "tutorial"
TUTORIAL_EPOCHS = 2
# What the tutorial's loop reaches in its two epochs: the accuracy that the sprint runs for.
WANTED = {"rnn": 0.936, "gru": 0.973, "lstm": 0.970}
CONFIGS = {"sprint": "sprint.yaml", "sprint, torch": "sprint.yaml", "mnist": "mnist.yaml"}
LABELS = {
    REFERENCE: "tutorial loop",
    "sprint": "`sprint.yaml`",
    "sprint, torch": "`sprint.yaml`, torch's kernels",
    "mnist": "`mnist.yaml`",
}
QUICK_IMAGES = 1000


def measure(plan: Plan) -> Result:
    """Return for each variant the seconds and test accuracies of each way, a seed a round."""
    threads = plan.threads or cpu_cores()
    with TemporaryDirectory() as name:
        places = {way: _prepare(way, Path(name), plan.quick) for way in CONFIGS}
        variants = list(WANTED)[: 1 if plan.quick else 3]
        cases = [measure_case(variant, threads, plan.rounds, places) for variant in variants]
    return {
        "conditions": conditions(
            threads, tutorial_batch=BATCH, tutorial_epochs=TUTORIAL_EPOCHS, seeds=plan.rounds
        ),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "summary": {case["variant"]: case["summary"] for case in cases},
    }


class Place:
    """A recipe's config, and the images and sequences that it trains on."""

    def __init__(self, config: PipelineConfig, dataset: Entry, sequences: Entry) -> None:
        self.config, self.dataset, self.sequences = config, dataset.path, sequences.path
        self.facts, self.limit = sequences.ref.facts, config.data.limit


def _prepare(way: str, folder: Path, quick: bool) -> Place:
    overrides = [f"data.limit={QUICK_IMAGES}", "training.epochs=1"] if quick else []
    config, store = load_config(ROOT / "configs" / CONFIGS[way], overrides), Store(folder / "store")
    dataset = store.ensure(
        dataset_recipe(config.data),
        lambda target: build_dataset(config.data, folder / "downloads", target),
        "benchmark",
    )
    sequences = store.ensure(
        sequences_recipe(dataset.ref, config.data, config.sequence),
        lambda target: build_sequences(dataset, config.data, config.sequence, target),
        "benchmark",
    )
    return Place(config, dataset, sequences)


def measure_case(variant: str, threads: int, rounds: int, places: dict[str, Place]) -> dict[str, Any]:
    """Return the rounds of a variant; each way meets the seeds 0, 1, 2, … in its turn."""
    set_threads(threads)
    accuracies: dict[str, list[float]] = {}

    def contender(name: str, run: Callable[[int], float]) -> Contender:
        def work() -> None:
            found = accuracies.setdefault(name, [])
            found.append(run(len(found)))

        return work

    contenders = {REFERENCE: contender(REFERENCE, partial(run_tutorial, variant, places["mnist"]))}
    for way, place in places.items():
        contenders[way] = contender(way, partial(run_recipe, variant, place, way))
    measured = take_turns(contenders, rounds, variant)
    summary = summarize(measured, REFERENCE)
    summary["accuracy"] = {name: spread(found) for name, found in accuracies.items()}
    return {"variant": variant, "rounds": measured, "accuracies": accuracies, "summary": summary}


def run_tutorial(variant: str, place: Place, seed: int) -> float:
    """Read MNIST, train as the tutorial does, test as it does; return the test accuracy."""
    give_threads_to_kernels(False)
    images = {
        split: TutorialImages(
            np.load(place.dataset / f"{split}_images.npy", allow_pickle=False)[: place.limit],
            np.load(place.dataset / f"{split}_labels.npy", allow_pickle=False)[: place.limit],
        )
        for split in ("train", "test")
    }
    torch.manual_seed(seed)
    loop = TutorialLoop(variant, images["train"].data.numpy(), images["train"].targets.numpy(), seed=seed)
    for _ in range(TUTORIAL_EPOCHS):
        loop.train()
    return tutorial_count(loop.network, DataLoader(images["test"], BATCH)) / len(images["test"])


def run_recipe(variant: str, place: Place, way: str, seed: int) -> float:
    """Read MNIST's sequences, train as the config says, test the best epoch; return the test accuracy."""
    chosen = next(each for each in place.config.variants if each.name == variant)
    spec = ModelSpec.of(place.facts, chosen)
    seed_everything(seed)
    network = build_network(spec, seed)
    use_kernels(network, CPU, "fp32", "torch" if way.endswith("torch") else "auto")
    setting = Setting(spec, place.config.training_of(chosen), seed, CPU, "fp32")
    network.load_state_dict(fit(network, open_training_data(place.sequences, CPU), setting).weights)
    torch.set_deterministic_debug_mode("default")  # the tutorial's loop goes without
    test = open_split(place.sequences, "test")
    assert test is not None, "MNIST has test images"
    found = predict(network, torch.from_numpy(test.x_NTI), spec, CPU, EVALUATION_BATCH)
    return float((found.probabilities_NK.argmax(dim=1).numpy() == test.y_N).mean())


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the whole tutorial loop each recipe is, from the files to the accuracy."""
    return {
        f"{case['variant']} {name}": ratio
        for case in result["cases"]
        for name, ratio in case["summary"]["ratio"].items()
    }


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
figures. The sprint is to reach what the tutorial's loop does: {wanted}.
A median [smallest to largest] over the seeds; bold: how many times as fast as the tutorial's loop.

| variant | recipe | seconds | times as fast | test accuracy, % | seeds that reach the tutorial's |
|---|---|---|---|---|---|
{chr(10).join(rows)}

![Test accuracy against seconds, each seed](recipes.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: the test accuracy of each seed against its seconds, a panel a variant."""
    cases = result["cases"]
    figure, axes = figure_with_axes(
        len(cases), title="Test accuracy against seconds, from the files on: each seed"
    )
    for panel, case in zip(axes, cases, strict=True):
        for place, (name, label) in enumerate(LABELS.items()):
            seconds = [each["wall_s"][name] for each in case["rounds"]]
            errors = [100 * (1 - accuracy) for accuracy in case["accuracies"][name]]
            panel.plot(seconds, errors, MARKERS[place], color=COLORS[place], label=label.replace("`", ""))
        panel.axhline(100 * (1 - WANTED[case["variant"]]), color="#666666", linewidth=0.8)
        panel.set_xscale("log")
        panel.set_yscale("log")
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
