"""What checkpoints and journal cost a training, and how soon a killed run makes its next new step.

Run with `python -m benchmarks.resuming`; writes benchmarks/results/resuming.json. The bare loop and the one that
keeps a journal and a checkpoint every 10 seconds take turns within each round: the same net, images and updates.
"""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import torch
import yaml

from benchmarks.load import FOREIGN_LIMIT, ForeignLoad
from benchmarks.loops import BATCH, spec_of, synthetic_images
from rnnpipe.config.sections import TrainingConfig
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.files import write_json
from rnnpipe.runtime import describe_device, seed_everything, set_threads
from rnnpipe.training.journal import Journal, read_journal, step_losses
from rnnpipe.training.loop import Fit
from rnnpipe.training.setting import NullRecorder, Setting, TrainingData

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/resuming.json"
VARIANT = "lstm"
JOB = {
    "name": "resuming",
    "data": {"name": "digits"},
    "variants": [{"name": VARIANT}],
    "training": {"epochs": 1000, "batch_size": 8, "preflight": False},
    "execution": {"checkpoint_every_s": 1.0},
}


def train(data: TrainingData, folder: Path | None) -> float:
    """Train one epoch, with journal and checkpoints in a folder or without; return the seconds it took."""
    config = TrainingConfig(epochs=1, batch_size=BATCH)
    setting = Setting(spec_of(VARIANT), config, 0, torch.device("cpu"), "fp32", folder)
    fitting = Fit(build_network(setting.spec, seed=0), data, setting)
    started = time.perf_counter()
    if folder is None:
        fitting.run(NullRecorder())
    else:
        with Journal(folder) as journal:
            fitting.run(journal)
    return time.perf_counter() - started


def measure_cost(rounds: int, images: int) -> list[dict[str, Any]]:
    """Return for each round the seconds of the bare loop and of the kept one, and their ratio."""
    data = TrainingData(*map(torch.from_numpy, synthetic_images(images)))
    measured = []
    for number in range(rounds):
        wall_s: dict[str, float] = {}
        with ForeignLoad() as load, tempfile.TemporaryDirectory() as name:
            for kind in sorted(("bare", "kept"), reverse=number % 2 == 1):
                wall_s[kind] = train(data, Path(name) if kind == "kept" else None)
        each = {"wall_s": wall_s, "ratio": wall_s["kept"] / wall_s["bare"], "foreign_cores": load.foreign_cores}
        measured.append({**each, "is_disturbed": load.foreign_cores > FOREIGN_LIMIT})
        click.echo(f"round {number + 1} of {rounds}: {each['ratio']:.4f}")
    return measured


def measure_recovery(repeats: int) -> list[float]:
    """Return the seconds from the start of a command, whose run was killed, to its first new step."""
    recovered_s = []
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "job.yaml"
        config.write_text(yaml.safe_dump(JOB), encoding="utf-8")
        command = [sys.executable, "-m", "rnnpipe", "run", str(config)]
        last_step = -1
        for number in range(repeats + 1):
            started = time.perf_counter()
            with subprocess.Popen(command, cwd=name, stdout=subprocess.DEVNULL) as run:
                while newest_step(Path(name)) <= last_step:
                    assert run.poll() is None, "the run ended by itself"
                    time.sleep(0.01)
                if number:
                    recovered_s.append(time.perf_counter() - started)
                time.sleep(3)
                run.send_signal(signal.SIGKILL)
            time.sleep(1)
            last_step = newest_step(Path(name))
    return recovered_s


def newest_step(folder: Path) -> int:
    """Return the last step that the journal tells of, -1 if there is none."""
    journals = list(folder.glob(".rnnpipe/store/trainings/*/log/journal.jsonl"))
    steps = step_losses(read_journal(journals[0].parents[1])) if journals else []
    return steps[-1][0] if steps else -1


def spread(values: list[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(5), help="Rounds of the cost.")
@click.option("--images", default=30_000, show_default=True, type=click.IntRange(BATCH), help="Images a round.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Kills.")
def main(rounds: int, images: int, repeats: int) -> None:
    """Measure both and write the results."""
    recovered_s = measure_recovery(repeats)
    click.echo(f"recovery: {spread(recovered_s)}")
    set_threads(1)
    seed_everything(0)
    cost = measure_cost(rounds, images)
    conditions = {
        "variant": VARIANT, "images": images, "batch_size": BATCH, "threads": 1, "rounds": rounds,
        "repeats": repeats, "device": describe_device(torch.device("cpu")), "torch": str(torch.__version__),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    result = {
        "conditions": conditions,
        "cost_ratio": spread([each["ratio"] for each in cost]),
        "recovery_s": spread(recovered_s),
        "rounds": cost,
        "recoveries_s": recovered_s,
    }
    write_json(RESULTS, result)
    click.echo(f"cost: {result['cost_ratio']}; wrote {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
