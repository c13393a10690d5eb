"""What the process of a training does: takes a device, trains on it, saves the model."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 (seconds: building an optimiser imports it; so the fork server has it already)

from rnnpipe.config import PipelineConfig, VariantConfig
from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.evaluation.predict import is_out_of_memory
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import read_json
from rnnpipe.models.classifier import count_parameters
from rnnpipe.models.kernels.choice import use_kernels
from rnnpipe.processes.slots import Job, device_slot
from rnnpipe.runtime import (
    Device,
    choose_precision,
    describe_device,
    resolve_device,
    seed_everything,
    set_threads,
)
from rnnpipe.training.checkpoint import Progress
from rnnpipe.training.data import open_training_data
from rnnpipe.training.job import WHOLE, Part
from rnnpipe.training.journal import Journal, event_line, start_of
from rnnpipe.training.loop import Fit, Outcome
from rnnpipe.training.preflight import check_before_training
from rnnpipe.training.setting import NullRecorder, Recorder, Setting, TrainingData
from rnnpipe.training.team import ALONE, Team, team_devices
from rnnpipe.training.threads import Threads, settle, threads_at_start
from rnnpipe.training.watching import believed, save_watched

Facts = dict[str, Any]
# Trainings shared by nodes count as one run's: two of them that hold a node each must not wait for one another's.
SHARED = "shared by nodes"


@dataclass(frozen=True)
class Assignment:
    """A training: its folder, that of its sequences, its run and the run's config, and which variant and seed."""

    folder: Path
    sequences: Path
    config: PipelineConfig
    variant: VariantConfig
    seed: int
    run: str
    part: Part = WHOLE

    @property
    def processes(self) -> int:
        """How many processes of this node make each update."""
        return self.config.execution.processes // self.part.nodes


def run_training(assignment: Assignment) -> Facts:
    """Train one variant with one seed in a run folder, going on where a killed run was; return the facts.

    A slot of the device is held meanwhile, of a CPU as many cores as it has threads, or tries. SIGTERM ends it
    after the update under way, with a checkpoint. Raises TrainingError, DeviceError.
    """
    config, folder = assignment.config, assignment.folder
    device, processes = resolve_device(config.execution.device), assignment.processes
    threads = threads_at_start(config, device, folder)
    what = f"{config.name} {assignment.variant.label} seed {assignment.seed}"
    run = assignment.run if assignment.part.nodes == 1 else SHARED
    job = Job(what, run, threads.count * processes)
    with contextlib.ExitStack() as held:
        names = [each.name for each in team_devices(device, processes)]
        keep, *_ = [held.enter_context(device_slot(name, job, folder)) for name in dict.fromkeys(names)]
        if config.execution.processes > 1:
            from rnnpipe.training.member import lead_team

            return lead_team(assignment, device)
        return train_here(assignment, device, ALONE, lambda fitting: settle(threads, fitting, keep))


def train_here(assignment: Assignment, device: Device, team: Team, settling: Callable[[Fit], Threads]) -> Facts:
    """Train in this process on a device that is held, alone or as one of a team; of that the leader writes."""
    set_threads(1)  # until they are settled: the starting weights don't depend on them
    seed_everything(assignment.seed)
    config, variant = assignment.config, assignment.variant
    precision, precision_reason = choose_precision(device.torch, config.execution.precision)
    spec = ModelSpec.of(read_json(assignment.sequences / "manifest.json")["facts"], variant)
    setting = Setting(
        spec, config.training_of(variant), assignment.seed, device.torch, precision, assignment.folder,
        config.execution.checkpoint_every_s,
    )  # fmt: skip
    facts = {
        "variant": variant.label,
        "seed": assignment.seed,
        **_describe(device),
        "precision": precision,
        "precision_reason": precision_reason,
        "torch": version("torch"),
    }
    with _out_of_memory_explained(setting):
        data = open_training_data(assignment.sequences, device.torch)
        return _train(setting, data, facts, config.execution.kernels, settling=settling, team=team)


def _train(
    setting: Setting, data: TrainingData, facts: Facts, kernels: str, *,
    settling: Callable[[Fit], Threads], team: Team,
) -> Facts:  # fmt: skip
    folder = setting.folder
    assert folder is not None
    network = build_network(setting.spec, setting.seed).to(setting.device)
    begun = str(start_of(folder).get("kernels_reason", ""))
    asked = "torch" if begun.startswith("torch") else kernels
    if not team.leads:  # all compute with what the leading process has found
        asked = "compiled" if team.told([0.0])[0] else "torch"
    kernels, reason = use_kernels(network, setting.device, setting.precision, asked)
    if team.leads:
        team.told([float(kernels == "compiled")])
    reason = begun if begun.startswith("torch") else reason  # why it began so is why it goes on so
    fitting = Fit(network, data, setting, team)
    fitting.resume()
    progress, is_new = fitting.progress, not fitting.progress.step
    if is_new and setting.config.preflight:
        check_before_training(network, data, setting)
    facts = {
        **facts, **settling(fitting).facts, "processes": team.size, "kernels": kernels,
        "kernels_reason": reason, "parameters": count_parameters(network),
    }  # fmt: skip
    with _stopping_at_sigterm(fitting), _journal(team, folder, progress) as journal:
        if is_new:
            totals = {"epochs": setting.config.epochs, "updates_per_epoch": fitting.updates_per_epoch}
            belief = believed(network, data, setting)
            journal.append(event_line("start", **facts, **totals, images=len(data.train_y_N), belief=belief))
        if fitting.passed_over or not is_new:
            note = "; ".join([*fitting.passed_over, *_other_kernels(begun, reason)])
            journal.append(event_line("resumed", epoch=progress.epoch, step=progress.step, note=note))
        outcome = fitting.run(journal)
        facts |= _results(outcome, data)
        if team.leads:
            network.load_state_dict(outcome.weights)
            save_model(folder, setting.spec, network)
            save_watched(folder, data, setting)
        journal.append(event_line("end", **facts))
    return facts


def _journal(team: Team, folder: Path, progress: Progress) -> contextlib.AbstractContextManager[Recorder]:
    """Return where a process tells what happens: of a team, one does."""
    if not team.leads:
        return contextlib.nullcontext(NullRecorder())
    return Journal(folder, progress.mark, progress.journal_line)


def _other_kernels(begun: str, reason: str) -> list[str]:
    """Return in words that a training goes on with other kernels than at first: last bits may differ."""
    is_other = begun.startswith("compiled") and begun != reason
    return [f"begun with kernels {begun}, goes on with {reason}"] if is_other else []


@contextmanager
def _stopping_at_sigterm(fitting: Fit) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda number, frame: fitting.stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _describe(device: Device) -> Facts:
    return {"device": describe_device(device.torch), "device_reason": device.reason}


def _results(outcome: Outcome, data: TrainingData) -> Facts:
    progress, is_validated = outcome.progress, data.validation_y_N is not None
    return {
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "stopped_early": outcome.stopped_early,
        "wall_s": progress.wall_s,
        "samples_per_s": len(data.train_y_N) * progress.epoch / progress.wall_s,
        "validation_accuracy": progress.best_accuracy if is_validated else None,
        "validation_loss": progress.best_loss if is_validated else None,
    }


@contextmanager
def _out_of_memory_explained(setting: Setting) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{setting.device} ran out of memory with {setting.config.batch_size} images an update",
            "lower training.batch_size, use a smaller net, or a transform with fewer steps",
        ) from error
