"""Long sequences: an update of 784 steps of one pixel, in classic layers and in those that scan all at once."""

from typing import Any

import numpy as np
import torch

from benchmarks.conditions import closing, conditions, not_measured
from benchmarks.loops import CPU, facts_of, network_with, with_threads_for
from benchmarks.page import cell
from benchmarks.rounds import Contender, load_of, summarize, take_turns
from benchmarks.suite import Plan, Result
from rnnpipe.config import VariantConfig
from rnnpipe.config.training import TrainingConfig
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import seed_everything, set_threads
from rnnpipe.training.loop import fit
from rnnpipe.training.setting import Setting, TrainingData

NAME = "long"
PLACE = 9
REFERENCE = "lstm, torch"
BATCH, STEPS, HIDDEN, TRUNCATED = 128, 784, 128, 196
TRAINING_IMAGES = 54_000  # of MNIST's, where a tenth validates
UPDATES, QUICK_UPDATES = 3, 1
NETS: dict[str, tuple[dict[str, Any], str]] = {
    REFERENCE: ({"name": "lstm"}, "torch"),
    "lstm, compiled": ({"name": "lstm"}, "compiled"),
    "lstm, last 196 steps": ({"name": "lstm", "truncated_steps": TRUNCATED}, "torch"),
    "gru, torch": ({"name": "gru"}, "torch"),
    "gru, compiled": ({"name": "gru"}, "compiled"),
    "min-gru": ({"name": "min-gru"}, "torch"),
    "min-lstm": ({"name": "min-lstm"}, "torch"),
}


def measure(plan: Plan) -> Result:
    """Return the seconds of the updates, round by round."""
    torch.set_flush_denormal(True)  # as in rnnpipe's trainings
    steps, updates = (28, QUICK_UPDATES) if plan.quick else (STEPS, UPDATES)
    threads = plan.threads or cpu_cores()
    set_threads(threads)
    random = np.random.default_rng(0)
    data = TrainingData(
        torch.from_numpy(random.integers(0, 256, (updates * BATCH, steps, 1), dtype=np.uint8)),
        torch.from_numpy(random.integers(0, 10, updates * BATCH)),
    )
    contenders, absent = {}, {}
    for name, (variant, kernels) in NETS.items():
        found, reason = contender(variant, kernels, data)
        if found is None:
            absent[name] = reason
        else:
            found()  # warm
            contenders[name] = found
    rounds = take_turns(contenders, plan.rounds, f"{steps} steps, {threads} threads")
    return {
        "conditions": conditions(threads, batch_size=BATCH, updates_per_round=updates, steps=steps),
        "load": load_of(rounds),
        "rounds": rounds,
        "absent": absent,
        "summary": summarize(rounds, REFERENCE),
    }


def contender(variant: dict[str, Any], kernels: str, data: TrainingData) -> tuple[Contender | None, str]:
    """Return what makes one pass with one layer of a variant; None and why, where its kernels can't be had."""
    steps = data.train_x_NTI.shape[1]
    config = VariantConfig.model_validate({"hidden_size": HIDDEN, "num_layers": 1, **variant})
    spec = ModelSpec.of(facts_of(steps, 1), config)
    network, reason = network_with(spec, kernels)
    if network is None:
        return None, reason
    setting = Setting(spec, TrainingConfig(epochs=1, batch_size=BATCH, optimizer="adamw"), 0, CPU, "fp32")

    def train() -> None:
        seed_everything(setting.seed)
        fit(network, data, setting)
        torch.set_deterministic_debug_mode("default")

    return with_threads_for(network, train), ""


def ratios(result: Result) -> dict[str, Any]:
    """Return how many times as fast as torch's LSTM each other net is."""
    return dict(result["summary"]["ratio"])


def section(result: Result) -> str:
    """Return the section: a table of milliseconds an update and minutes an epoch."""
    known, summary = result["conditions"], result["summary"]
    updates = known["updates_per_round"]
    rows = []
    for name, wall_s in summary["wall_s"].items():
        epoch_min = wall_s["median"] / updates * TRAINING_IMAGES / BATCH / 60
        ratio = f"**{cell(summary['ratio'][name])}**" if name in summary["ratio"] else "1"
        rows.append(f"| {name} | {cell(wall_s, 0, 1000 / updates)} | {ratio} | {epoch_min:.1f} |")
    return f"""## Long sequences

Milliseconds an update of {known["batch_size"]} sequences of {known["steps"]} steps of one pixel, in one layer
of {HIDDEN}; in bold how many times as fast as torch's LSTM. Minutes an epoch are reckoned for {TRAINING_IMAGES:,}
images. minGRU and minLSTM compute all steps at once; the truncated LSTM goes back through the last {TRUNCATED}.

| net | ms an update | times as fast | minutes an epoch |
|---|---|---|---|
{chr(10).join(rows)}

{not_measured(result["absent"].items())}

{closing(result)}
"""
