"""Evaluation of 10,000 images: the tutorial's test loop and rnnpipe's `predict`, with the same right answers."""

from collections.abc import Callable
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.conditions import closing, conditions
from benchmarks.goals import judged_ratios
from benchmarks.limit import forward_flops, products_s
from benchmarks.loops import (
    BATCH,
    CPU,
    SIDE,
    TutorialImages,
    network_with,
    spec_of,
    synthetic_images,
    with_threads_for,
)
from benchmarks.page import cell
from benchmarks.rounds import Contender, load_of, ratios_of_cases, summarize, take_turns
from benchmarks.style import draw_bars, figure_with_axes, group_of
from benchmarks.suite import Plan, Result
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.evaluation.predict import predict
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import set_threads

NAME = "evaluation"
PLACE = 5
VARIANTS = ("rnn", "gru", "lstm")
REFERENCE = "tutorial"
LIMIT = "products"
LABELS = {
    REFERENCE: "tutorial loop",
    "torch": "rnnpipe, torch's kernels",
    "compiled": "rnnpipe, compiled kernels",
    LIMIT: "the matrix products alone",
}
GOALS = {"compiled": {"rnn": 5.0, "gru": 5.0, "lstm": 5.0}}
IMAGES, QUICK_IMAGES = 10_000, 1_000
EVALUATION_BATCH = 1000  # as the pipeline's default


def measure(plan: Plan) -> Result:
    """Return for each variant and thread count the seconds of each way, round by round."""
    total = QUICK_IMAGES if plan.quick else IMAGES
    threads = [plan.threads] if plan.threads else sorted({1} if plan.quick else {1, cpu_cores()})
    cases = []
    for count in threads:
        set_threads(count)
        names = VARIANTS[: 1 if plan.quick else 3]
        cases += [{"threads": count, **measure_case(name, total, plan.rounds)} for name in names]
    return {
        "conditions": conditions(threads, images=total, tutorial_batch=BATCH, batch_size=EVALUATION_BATCH),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "summary": {f"{case['variant']}, {case['threads']} threads": case["summary"] for case in cases},
    }


def measure_case(variant: str, total: int, rounds: int) -> dict[str, Any]:
    """Return the rounds for a variant; AssertionError where two ways count differently."""
    spec, counts, absent = spec_of(variant), dict[str, int](), dict[str, str]()
    images_NHW, labels_N = synthetic_images(total)
    reference = build_network(spec, seed=0)
    networks: dict[str, nn.Module] = {REFERENCE: reference}
    loader = DataLoader(TutorialImages(images_NHW, labels_N), BATCH)
    counting: dict[str, Callable[[], int]] = {REFERENCE: lambda: tutorial_count(reference, loader)}
    x_NTI, y_N = torch.from_numpy(images_NHW), torch.from_numpy(labels_N)
    for kernels in ("torch", "compiled"):
        network, reason = network_with(spec, kernels)
        if network is None:
            absent[kernels] = reason
        else:
            networks[kernels] = network
            counting[kernels] = predicting(network, x_NTI, y_N, spec)

    def contender(name: str) -> Contender:
        def count() -> None:
            counts[name] = counting[name]()

        return count

    contenders = {name: with_threads_for(networks[name], contender(name)) for name in counting}
    gflop = 1e-9 * forward_flops(variant, total)
    contenders[LIMIT] = with_threads_for(None, lambda: gflop * products_s(torch.float32))
    for warm_up in contenders.values():
        warm_up()
    measured = take_turns(contenders, rounds, f"evaluation of {variant}")
    assert len(set(counts.values())) == 1, f"{variant}: the right answers differ: {counts}"
    case = {"variant": variant, "rounds": measured, "absent": absent, "right": counts[REFERENCE]}
    return {**case, "summary": summarize(measured, REFERENCE)}


def tutorial_count(network: nn.Module, loader: DataLoader[tuple[torch.Tensor, int]]) -> int:
    """Return the number of right answers, as the tutorials count them."""
    correct = 0
    with torch.no_grad():
        for images_B1HW, labels_B in loader:
            logits_BK = network(images_B1HW.reshape(-1, SIDE, SIDE))
            correct += int((logits_BK.argmax(dim=1) == labels_B).sum().item())
    return correct


def predicting(network: nn.Module, x_NTI: torch.Tensor, y_N: torch.Tensor, spec: ModelSpec) -> Callable[[], int]:
    """Return what counts the right answers of `predict`."""

    def count() -> int:
        found = predict(network, x_NTI, spec, CPU, EVALUATION_BATCH)
        return int((found.probabilities_NK.argmax(dim=1) == y_N).sum())

    return count


def ratios(result: Result) -> dict[str, dict[str, float]]:
    """Return how many times as fast as the tutorial's test loop each way is."""
    return {name: ratio for name, ratio in ratios_of_cases(result["cases"]).items() if LIMIT not in name}


def section(result: Result) -> str:
    """Return the section: what was compared, a table, and the load."""
    known = result["conditions"]
    used = [name for name in LABELS if any(name in case["summary"]["wall_s"] for case in result["cases"])]
    rows = [
        f"| {case['variant']} | {case['threads']} | {' | '.join(_cell(case, name) for name in used)} |"
        for case in result["cases"]
    ]
    return f"""## Evaluation

Seconds for {known["images"]:,} images, and in bold how many times as fast as the tutorial's test loop that is:
`DataLoader` with {known["tutorial_batch"]} images a batch, `ToTensor`, `no_grad`, counting `argmax`. rnnpipe's
`predict` takes {known["batch_size"]} a batch and gives the probabilities of all images. Untrained nets of two
layers of 128 on synthetic images; every way counts the same number of right answers. The last column is reckoned:
the net's matrix products at the speed of torch's fastest products in fp32 that were measured in the same round
(as for "The machine's limit"). Where torch uses all of the processor, no net in fp32 is faster.
The goal is 5 times, by compiled kernels on all cores.

| variant | threads | {" | ".join(LABELS[name] for name in used)} |
|---|---|{"---|" * len(used)}
{chr(10).join(rows)}

{judged_ratios(result["cases"], GOALS, LABELS)}

![Times the speed of the tutorial's test loop](evaluation_speed.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: ratios to the tutorial's test loop."""
    figure, (axes,) = figure_with_axes(title="Evaluation beside the tutorial's test loop: median and range")
    cases = result["cases"]
    series = {LABELS[name]: [case["summary"]["ratio"].get(name) for case in cases] for name in LABELS}
    draw_bars(
        axes,
        [group_of(case["variant"], case["threads"]) for case in cases],
        {name: found for name, found in series.items() if any(found)},
    )
    axes.axhline(1, color="#666666", linewidth=0.8)
    axes.set_ylabel("times the tutorial's speed")
    axes.legend(frameon=False, fontsize=8)
    return {"evaluation_speed": figure}


def _cell(case: dict[str, Any], name: str) -> str:
    summary = case["summary"]
    if name not in summary["wall_s"]:
        return "-"
    wall_s = cell(summary["wall_s"][name])
    return wall_s if name == REFERENCE else f"{wall_s} **{cell(summary['ratio'][name], 1)}**"
