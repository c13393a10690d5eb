"""What checkpoints and journal cost a training, and how soon a killed run makes its next new step.

The bare loop and the one that keeps a journal and a checkpoint every 10 seconds take turns: the same net, images
and updates.
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

from benchmarks.conditions import closing, conditions
from benchmarks.loops import BATCH, CPU, spec_of, synthetic_images
from benchmarks.page import cell
from benchmarks.rounds import Spread, load_of, spread, summarize, take_turns
from benchmarks.runs import alone_in
from benchmarks.suite import Plan, Result
from rnnpipe.config.training import TrainingConfig
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.runtime import seed_everything, set_threads
from rnnpipe.training.journal import Journal, read_journal, step_losses
from rnnpipe.training.loop import Fit
from rnnpipe.training.setting import NullRecorder, Setting, TrainingData

NAME = "resuming"
PLACE = 9
VARIANT = "lstm"
IMAGES, QUICK_IMAGES = 30_000, 1_000
REPEATS, QUICK_REPEATS = 5, 1
JOB = {
    "name": "resuming",
    "data": {"name": "digits"},
    "variants": [{"name": VARIANT}],
    "training": {"epochs": 1000, "batch_size": 8, "preflight": False},
    "execution": {"checkpoint_every_s": 1.0},
}


def measure(plan: Plan) -> Result:
    """Return the seconds from a killed run's command to its next new step, and those of both loops, by round."""
    images, repeats = (QUICK_IMAGES, QUICK_REPEATS) if plan.quick else (IMAGES, REPEATS)
    recovered_s = measure_recovery(repeats)
    threads = plan.threads or 1
    set_threads(threads)
    seed_everything(0)
    images_NHW, labels_N = synthetic_images(images)
    data = TrainingData(torch.from_numpy(images_NHW), torch.from_numpy(labels_N))
    contenders = {"bare": lambda: train(data, None), "kept": lambda: train_and_keep(data)}
    rounds = take_turns(contenders, plan.rounds, NAME)
    summary = summarize(rounds, "bare")
    return {
        "conditions": conditions(threads, variant=VARIANT, images=images, batch_size=BATCH),
        "load": load_of(rounds),
        "rounds": rounds,
        "recoveries_s": recovered_s,
        "summary": {**summary, "recovery_s": spread(recovered_s)},
    }


def train_and_keep(data: TrainingData) -> float:
    """Train one epoch with journal and checkpoints in a folder that is removed; return the seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        return train(data, Path(name))


def train(data: TrainingData, folder: Path | None) -> float:
    """Train one epoch, with journal and checkpoints in a folder or without; return the seconds it took."""
    setting = Setting(spec_of(VARIANT), TrainingConfig(epochs=1, batch_size=BATCH), 0, CPU, "fp32", folder)
    network = build_network(setting.spec, seed=0)
    use_kernels(network, setting.device, setting.precision, "auto")
    fitting = Fit(network, data, setting)
    started = time.perf_counter()
    if folder is None:
        fitting.run(NullRecorder())
    else:
        with Journal(folder) as journal:
            fitting.run(journal)
    return time.perf_counter() - started


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
            with subprocess.Popen(command, cwd=name, env=alone_in(Path(name)), stdout=subprocess.DEVNULL) as run:
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
    journals = list(folder.glob("store/trainings/*/log/journal.jsonl"))
    steps = step_losses(read_journal(journals[0].parents[1])) if journals else []
    return steps[-1][0] if steps else -1


def section(result: Result) -> str:
    """Return the section: the cost of keeping, and the time to the next new step."""
    known, summary = result["conditions"], result["summary"]
    return f"""## What it costs to be killed

A training of `{VARIANT}` ({known["images"]:,} images, {known["batch_size"]} an update, {known["threads"]} thread)
with journal and checkpoints runs at {cell(summary["ratio"]["kept"], 3)} of the speed of the bare loop
({len(result["rounds"])} rounds). A run of `{VARIANT}` on `digits` that was killed makes its next new step
{cell(summary["recovery_s"], 1)} s after the command ({len(result["recoveries_s"])} kills).

{closing(result)}
"""


def ratios(result: Result) -> dict[str, Spread]:
    """Return the speed with journal and checkpoints beside the bare loop's."""
    return {"journal and checkpoints": result["summary"]["ratio"]["kept"]}
