"""How near the machine's limit a net computes: its forward and backward pass beside plain matrix products."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import nn

from benchmarks.conditions import closing, conditions, not_measured
from benchmarks.goals import judged
from benchmarks.loops import BATCH, SIDE, network_with, spec_of, with_threads_for
from benchmarks.page import cell
from benchmarks.rounds import Contender, Spread, load_of, summarize, take_turns
from benchmarks.style import draw_bars, figure_with_axes, group_of
from benchmarks.suite import Plan, Result
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import choose_precision, set_threads

NAME = "limit"
PLACE = 3
LAYERS, HIDDEN = 2, 128
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
GOALS = {"rnn": 0.5, "gru": 0.5, "lstm": 0.65}  # share of the limit, of the compiled kernels
LIMIT, LIMIT_BF16 = "fp32 products", "bf16 products"
# rows, inner, columns: two large ones, and the product over all steps at once that a layer of each variant has
SHAPES: tuple[tuple[int, int, int], ...] = (
    (1024, 2048, 2048),
    (2048, 2048, 2048),
    *((BATCH * SIDE, HIDDEN, gates * HIDDEN) for gates in GATES.values()),
)
SECONDS_A_SHAPE, PASSES = 0.1, 5


def flops(variant: str) -> int:
    """Return the floating-point operations of the matrix products of one forward and backward pass of a batch.

    Backward has twice as many as forward, for the weights and for what came in, except that nobody needs the
    gradient of the images. Point-wise work isn't counted.
    """
    return 3 * forward_flops(variant, BATCH) - 2 * BATCH * SIDE * GATES[variant] * HIDDEN * SIDE


def forward_flops(variant: str, images: int) -> int:
    """Return the floating-point operations of the matrix products of a forward pass of so many images.

    Each layer has 2 B T G H (I + H): gates G, input I, hidden H.
    """
    step = 2 * images * SIDE * GATES[variant] * HIDDEN
    return sum(step * ((SIDE if layer == 0 else HIDDEN) + HIDDEN) for layer in range(LAYERS))


def measure(plan: Plan) -> Result:
    """Return for each thread count the seconds per GFLOP of products and nets, round by round."""
    counts = [plan.threads] if plan.threads else sorted({1} if plan.quick else {1, cpu_cores()})
    variants = list(GATES)[: 1 if plan.quick else 3]
    cases: list[dict[str, Any]] = []
    for threads in counts:
        set_threads(threads)
        present, absent = contenders(variants)
        for warm_up in present.values():
            warm_up()
        rounds = take_turns(present, plan.rounds, f"per GFLOP, {threads} threads")
        summary = summarize(rounds, LIMIT)
        summary["gflops"] = {
            name: {"median": 1 / each["median"], "min": 1 / each["max"], "max": 1 / each["min"]}
            for name, each in summary["wall_s"].items()
        }
        cases.append({"threads": threads, "rounds": rounds, "absent": absent, "summary": summary})
    return {
        "conditions": conditions(counts, batch_size=BATCH, layers=LAYERS, hidden_size=HIDDEN, shapes=SHAPES),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "summary": {f"{case['threads']} threads": case["summary"] for case in cases},
    }


def contenders(variants: list[str]) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return what is measured, by name, each giving its seconds per GFLOP; and why some can't be there."""
    torch.manual_seed(0)
    present: dict[str, Contender] = {LIMIT: with_threads_for(None, lambda: products_s(torch.float32))}
    absent: dict[str, str] = {}
    precision, reason = choose_precision(torch.device("cpu"), "bf16")
    if precision == "bf16":
        present[LIMIT_BF16] = with_threads_for(None, lambda: products_s(torch.bfloat16))
    else:  # torch would take half a second for each GFLOP
        absent[LIMIT_BF16] = reason.removeprefix("fp32: ")
    for variant in variants:
        for kernels in ("torch", "compiled"):
            network, reason = network_with(spec_of(variant), kernels)
            if network is None:
                absent[f"{variant}, {kernels}"] = reason
            else:
                present[f"{variant}, {kernels}"] = with_threads_for(network, passing(network, flops(variant)))
    return present, absent


def products_s(kind: torch.dtype) -> float:
    """Return the seconds per GFLOP of the shape with the fastest products; as with the nets, the mean of some."""
    means_s = []
    for rows, inner, columns in SHAPES:
        left, right = torch.randn(rows, inner).to(kind), torch.randn(inner, columns).to(kind)
        out = torch.mm(left, right)
        count, started_s, wall_s = 0, perf_counter(), 0.0
        while wall_s < SECONDS_A_SHAPE:
            torch.mm(left, right, out=out)
            count, wall_s = count + 1, perf_counter() - started_s
        means_s.append(wall_s / count / (2e-9 * rows * inner * columns))
    return min(means_s)


def passing(network: nn.Module, operations: int) -> Callable[[], float]:
    """Return what makes forward and backward passes with a batch, and gives their mean seconds per GFLOP."""
    x_BTI = torch.rand(BATCH, SIDE, SIDE)

    def run() -> float:
        started_s = perf_counter()
        for _ in range(PASSES):
            network.zero_grad()
            network(x_BTI).sum().backward()
        return (perf_counter() - started_s) / PASSES / (1e-9 * operations)

    return run


def ratios(result: Result) -> dict[str, Spread]:
    """Return the share of the fp32 limit that each net reaches."""
    return {
        f"{name} {case['threads']} threads": share
        for case in result["cases"]
        for name, share in case["summary"]["ratio"].items()
        if name != LIMIT_BF16
    }


def section(result: Result) -> str:
    """Return the section: what was compared, a table, and the load."""
    known = result["conditions"]
    nets = [f"{variant}, {kernels}" for variant in GATES for kernels in ("torch", "compiled")]
    names = [LIMIT, LIMIT_BF16, *nets]
    rows = [_row(case, name) for case in result["cases"] for name in names if name in case["summary"]["wall_s"]]
    absent = [each for case in result["cases"] for each in case["absent"].items()]
    reached = [
        (f"`{variant}` with {case['threads']} thread(s)", share["median"], goal)
        for case in result["cases"]
        for variant, goal in GOALS.items()
        if (share := case["summary"]["ratio"].get(f"{variant}, compiled")) is not None
    ]
    return f"""## The machine's limit

Billions of floating-point operations a second: plain matrix products (`torch.mm`, the best of some shapes, among
them those of the nets' own layers), and forward and backward passes in fp32 of nets of {known["layers"]} layers of
{known["hidden_size"]} with {known["batch_size"]} images of 28 rows. Only the operations of matrix products count,
forward 2·B·T·G·H·(I+H) a layer, backward twice that without the gradient of the images. The share is taken within
each round. It is above 100 where a machine's speed changes within one, and where torch's products don't use all of
the processor. The goals are 50 % for compiled `rnn` and `gru`, 65 % for `lstm`.

| threads | what | GFLOP/s | share of the fp32 limit, % |
|---|---|---|---|
{chr(10).join(rows)}

{judged(reached)}

{not_measured(absent)}

![Share of the fp32 limit](limit_share.png)

{closing(result)}
"""


def figures(result: Result) -> dict[str, Figure]:
    """Return one figure: the share of the limit, torch's kernels beside the compiled ones."""
    figure, (axes,) = figure_with_axes(title="Share of the fp32 matrix-product limit: median and range")
    groups = [(case, variant) for case in result["cases"] for variant in GATES]
    series: dict[str, list[Any]] = {
        kernels: [case["summary"]["ratio"].get(f"{variant}, {kernels}") for case, variant in groups]
        for kernels in ("torch", "compiled")
    }
    labels = [group_of(variant, case["threads"]) for case, variant in groups]
    draw_bars(axes, labels, {name: found for name, found in series.items() if any(found)})
    axes.set_ylabel("share of the limit")
    axes.legend(frameon=False, fontsize=8)
    return {"limit_share": figure}


def _row(case: dict[str, Any], name: str) -> str:
    summary = case["summary"]
    share = cell(summary["ratio"][name], 0, 100) if name in summary["ratio"] else "100"
    return f"| {case['threads']} | {name} | {cell(summary['gflops'][name], 0)} | {share} |"
