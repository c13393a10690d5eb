"""A training as a stage: its recipe, the process that trains, and what is kept of it.

The process reads `log/job.json` in the stage's folder and imports neither Prefect nor MLflow. It holds the lock of
its device, and one on the folder, for its whole life.
"""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from rnnpipe.config import PipelineConfig, VariantConfig
from rnnpipe.files import read_json, sha256_tree, write_json
from rnnpipe.processes.slots import acquire_slot, cpu_slots
from rnnpipe.references import Recipe, StageRef

JOB_FILE = "log/job.json"
RESULT_FILE = "log/result.json"
IDENTITY_FILE = "log/identity.json"
TARGET = "rnnpipe.training.job:train"
PACKAGE = Path(__file__).parents[1]


def training_recipe(sequences: StageRef, config: PipelineConfig, variant: VariantConfig, seed: int) -> Recipe:
    """Return what a training's weights are made from; the device and the thread count are part of it."""
    training = config.training_of(variant).model_dump(mode="json", exclude={"preflight"})
    inputs = {
        "sequences": sequences.digest,
        "variant": variant.model_dump(mode="json", exclude={"learning_rate"}),
        "training": training,
        "seed": seed,
        "execution": config.execution.model_dump(mode="json", include={"device", "threads", "precision"}),
        "torch": version("torch"),
        "code": {name: sha256_tree(PACKAGE / name) for name in ("models", "training")},
    }
    return Recipe(stage="trainings", inputs=inputs)


def prepare(folder: Path, sequences_folder: Path, *, config: PipelineConfig, variant: int, seed: int) -> None:
    """Write the job that `train` reads; `variant` is its place in the config."""
    job = {"sequences": str(sequences_folder), "config": config.as_json(), "variant": variant, "seed": seed}
    write_json(folder / JOB_FILE, job)
    if not (folder / IDENTITY_FILE).exists():  # a killed run that goes on is the same logical run
        write_json(folder / IDENTITY_FILE, {"id": uuid4().hex, "started_at_ms": time.time_ns() // 1_000_000})


def collect(folder: Path) -> dict[str, Any]:
    """Return the facts of a finished training and remove what only the process needed."""
    facts: dict[str, Any] = read_json(folder / RESULT_FILE)
    (folder / JOB_FILE).unlink()
    return facts


def train(folder: Path) -> None:
    """Train as `log/job.json` says; writes weights.safetensors, model.json, journal, checkpoints, result."""
    job = read_json(folder / JOB_FILE)
    config = PipelineConfig.model_validate(job["config"])
    with FileLock(f"{folder}.process.lock"):  # a killed run's process may still be on its last breath
        _train(folder, Path(job["sequences"]), config, config.variants[job["variant"]], job["seed"])


def _train(
    folder: Path, sequences_folder: Path, config: PipelineConfig, variant: VariantConfig, seed: int
) -> None:
    from rnnpipe.evaluation.deploy import ModelSpec, build_network, save_model
    from rnnpipe.models.classifier import count_parameters
    from rnnpipe.runtime import (
        choose_precision,
        describe_device,
        resolve_device,
        seed_everything,
        set_threads,
    )
    from rnnpipe.training.data import open_training_data
    from rnnpipe.training.journal import Journal, event_line
    from rnnpipe.training.loop import Fit
    from rnnpipe.training.preflight import check_before_training
    from rnnpipe.training.setting import Setting

    execution, training = config.execution, config.training_of(variant)
    set_threads(execution.threads)
    device = resolve_device(execution.device)
    slots = cpu_slots(execution.threads) if device.kind == "cpu" else 1
    slot = acquire_slot(device.name, slots, f"{config.name} {variant.label} seed {seed}")
    seed_everything(seed)
    precision, precision_reason = choose_precision(device.torch, execution.precision)
    spec = ModelSpec.of(read_json(sequences_folder / "manifest.json")["facts"], variant)
    network = build_network(spec, seed)
    data = open_training_data(sequences_folder, device.torch)
    setting = Setting(spec, training, seed, device.torch, precision, folder)
    fitting = Fit(network.to(device.torch), data, setting)
    fitting.resume()
    if training.preflight and not fitting.progress.epoch:
        check_before_training(network, data, setting)
    journal = Journal(folder, fitting.progress.journal_position, fitting.progress.journal_line)
    fitting.recorder = journal
    facts = {
        "variant": variant.label,
        "seed": seed,
        "parameters": count_parameters(network),
        "device": describe_device(device.torch),
        "device_reason": device.reason,
        "threads": execution.threads,
        "precision": precision,
        "precision_reason": precision_reason,
        "torch": version("torch"),
    }
    if not fitting.progress.epoch:
        totals = {"epochs": training.epochs, "updates_per_epoch": fitting.updates_per_epoch}
        journal.append(event_line("start", **facts, **totals, images=len(data.train_y_N)))
    outcome = fitting.run()
    network.load_state_dict(outcome.weights)
    save_model(folder, spec, network)
    progress = outcome.progress
    facts |= {"best_epoch": progress.best_epoch, "epochs": progress.epoch, "wall_s": progress.wall_s}
    facts |= {
        "stopped_early": outcome.stopped_early,
        "samples_per_s": len(data.train_y_N) * progress.epoch / max(progress.wall_s, 1e-9),
        "validation_accuracy": progress.best_accuracy if data.validation_y_N is not None else None,
        "validation_loss": progress.best_loss if data.validation_y_N is not None else None,
    }
    journal.append(event_line("end", **facts))
    journal.close()
    write_json(folder / RESULT_FILE, facts)
    slot.release()
