"""The page and the figure of the training benchmark, made from its results alone."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.load import FOREIGN_LIMIT
from rnnpipe.files import atomic_path, write_bytes

LABELS = {"tutorial": "tutorial loop", "rnnpipe": "rnnpipe"}
COLORS = {"tutorial": "#9aa5b1", "rnnpipe": "#1769aa"}
BAR_WIDTH = 0.36

Result = dict[str, Any]


def write_page(result: Result, folder: Path) -> None:
    """Write PERFORMANCE.md and training_speed.png for a result of `benchmarks.training`."""
    with atomic_path(folder / "training_speed.png") as temporary:
        _figure(result).savefig(temporary, format="png", dpi=130)
    write_bytes(folder / "PERFORMANCE.md", _page(result).encode())


def _page(result: Result) -> str:
    known = result["conditions"]
    rows = "\n".join(_row(variant, measured["summary"]) for variant, measured in result["variants"].items())
    return f"""# Training speed

<!-- made by `python -m benchmarks.training`; change that, not this page -->

Milliseconds an update in the plain tutorial loop (`DataLoader`, `ToTensor` on one image at a time, Adam) and in
rnnpipe's loop. Both do the same work: the same net (two layers of 128), the same number of updates of
{known["batch_size"]} images of 28 x 28 pixels, read as rows, in {known["precision"]}, with {known["threads"]}
CPU thread{"s" if known["threads"] > 1 else ""}, on synthetic images.
The loops take turns, so read the ratio: it is taken round by round. Above 1, rnnpipe is faster.

| variant | tutorial, ms | rnnpipe, ms | ratio |
|---|---|---|---|
{rows}

Median [smallest to largest] of {known["rounds"]} rounds of {known["updates_per_round"]} updates.
{_load_sentence(result["load"])}

![Milliseconds an update, median and range, for each variant](training_speed.png)

Fetching images is in both figures. Validation, checkpoints and the journal's file are in neither: they come once
an epoch, or twice a second.

Measured {known["measured_at"]} on {known["device"]}, torch {known["torch"]}, Python {known["python"]},
{known["platform"]}. Every round stands in `benchmarks/results/training.json`. Again: `make bench`, or
`python -m benchmarks.training --rounds {known["rounds"]} --updates {known["updates_per_round"]} \
--threads {known["threads"]}`.
"""


def _row(variant: str, summary: Result) -> str:
    cells = [_cell(summary["tutorial"], 1), _cell(summary["rnnpipe"], 1), _cell(summary["ratio"], 2)]
    return f"| {variant} | {' | '.join(cells)} |"


def _cell(values: dict[str, float], digits: int) -> str:
    return f"{values['median']:.{digits}f} [{values['min']:.{digits}f} to {values['max']:.{digits}f}]"


def _load_sentence(load: Result) -> str:
    if not load["was_loaded"]:
        return f"In none of the {load['rounds']} rounds did other processes use more than {FOREIGN_LIMIT:g} cores."
    return (
        f"**The machine was loaded**: in {load['disturbed']} of {load['rounds']} rounds other processes used more "
        f"than {FOREIGN_LIMIT:g} cores."
    )


def _figure(result: Result) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    variants = result["variants"]
    for place, (loop, label) in enumerate(LABELS.items()):
        summaries = [measured["summary"][loop] for measured in variants.values()]
        medians = [summary["median"] for summary in summaries]
        spread = (
            [summary["median"] - summary["min"] for summary in summaries],
            [summary["max"] - summary["median"] for summary in summaries],
        )
        positions = [number + (place - 0.5) * BAR_WIDTH for number in range(len(variants))]
        axes.bar(positions, medians, BAR_WIDTH, yerr=spread, capsize=3, label=label, color=COLORS[loop])
    ratios = [f"{name}\n{measured['summary']['ratio']['median']:.2f} x" for name, measured in variants.items()]
    axes.set_xticks(range(len(variants)), ratios)
    axes.set_ylabel("ms an update (less is better)")
    axes.set_title("Median and range over the rounds; x is the median ratio of a round", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
