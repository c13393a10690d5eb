"""How long an update takes in the plain tutorial loop and in rnnpipe's, for the same work.

Run with `python -m benchmarks.training`; writes benchmarks/results/training.json, docs/PERFORMANCE.md and
docs/training_speed.png. The loops take turns within each round, so that a machine that slows down slows both.
"""

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from platform import machine, python_version, system
from typing import Any

import click
import torch

from benchmarks.load import FOREIGN_LIMIT, ForeignLoad
from benchmarks.loops import BATCH, LOOPS, synthetic_images
from benchmarks.page import write_page
from rnnpipe.files import write_json
from rnnpipe.runtime import describe_device, set_threads

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/training.json"
VARIANTS = ("rnn", "gru", "lstm")
WARM_UP_UPDATES = 3
MIN_ROUNDS = 5

Round = dict[str, Any]


def measure(variant: str, rounds: int, updates: int) -> Iterator[Round]:
    """Yield for each round the ms an update takes in each loop, and the cores that others used meanwhile."""
    warm_up = {name: loop(variant, *synthetic_images(WARM_UP_UPDATES * BATCH)) for name, loop in LOOPS.items()}
    for loop in warm_up.values():
        loop.train()
    loops = {name: loop(variant, *synthetic_images(updates * BATCH)) for name, loop in LOOPS.items()}
    for number in range(rounds):
        update_ms: dict[str, float] = {}
        foreign_cores: dict[str, float] = {}
        # who goes first alternates: what slows down within a round hits both alike
        for name in sorted(loops, reverse=number % 2 == 1):
            with ForeignLoad() as load:
                loops[name].train()
            update_ms[name] = 1000 * load.wall_s / updates
            foreign_cores[name] = load.foreign_cores
        yield {
            "update_ms": update_ms,
            "foreign_cores": foreign_cores,
            "is_disturbed": max(foreign_cores.values()) > FOREIGN_LIMIT,
            "ratio": update_ms["tutorial"] / update_ms["rnnpipe"],
        }


def summarize(rounds: list[Round]) -> dict[str, dict[str, float]]:
    """Return median, minimum and maximum over the rounds: ms an update of each loop, and the ratio of a round."""
    series = {name: [each["update_ms"][name] for each in rounds] for name in LOOPS}
    series["ratio"] = [each["ratio"] for each in rounds]
    return {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in series.items()
    }


def conditions(rounds: int, updates: int, threads: int) -> dict[str, Any]:
    """Return what the figures depend on besides the code."""
    return {
        "device": describe_device(torch.device("cpu")),
        "threads": threads,
        "precision": "fp32",
        "rounds": rounds,
        "updates_per_round": updates,
        "batch_size": BATCH,
        "torch": str(torch.__version__),
        "python": python_version(),
        "platform": f"{system()} {machine()}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(MIN_ROUNDS), help="Rounds a variant.")
@click.option("--updates", default=30, show_default=True, type=click.IntRange(5), help="Updates a loop and round.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads.")
def main(rounds: int, updates: int, threads: int) -> None:
    """Measure both loops and write the results and the page."""
    set_threads(threads)
    torch.set_flush_denormal(True)  # as in rnnpipe's trainings; set for both
    result: dict[str, Any] = {"conditions": conditions(rounds, updates, threads), "variants": {}}
    for variant in VARIANTS:
        measured = []
        for each in measure(variant, rounds, updates):
            measured.append(each)
            click.echo(f"{variant} round {len(measured)} of {rounds}: ratio {each['ratio']:.2f}")
        result["variants"][variant] = {"summary": summarize(measured), "rounds": measured}
    everything = [each for variant in result["variants"].values() for each in variant["rounds"]]
    disturbed = sum(each["is_disturbed"] for each in everything)
    result["load"] = {"rounds": len(everything), "disturbed": disturbed, "was_loaded": disturbed > 0}
    write_json(RESULTS, result)
    write_page(result, ROOT / "docs")
    click.echo(f"wrote {RESULTS.relative_to(ROOT)}, docs/PERFORMANCE.md, docs/training_speed.png")


if __name__ == "__main__":
    main()
