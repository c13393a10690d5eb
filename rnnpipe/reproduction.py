"""Making a registered model again from what stands on its version alone, and saying whether it is the same."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import DATASET_STAGE, build_dataset, build_sequences, dataset_recipe, sequences_recipe
from rnnpipe.errors import DataError, DeviceError, RnnpipeError, TrackingError
from rnnpipe.evaluation import job as evaluation_job
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.files import digest_of, read_json, remove_folder, sweep_temporaries, write_json
from rnnpipe.models.kernels.choice import kernels_here
from rnnpipe.processes.launcher import Launcher
from rnnpipe.provenance import code_revision
from rnnpipe.references import StageRef
from rnnpipe.runtime import choose_precision, describe_device, resolve_device
from rnnpipe.sameness import Outcome, compare
from rnnpipe.store import MANIFEST, Entry, Store
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.digests import RECORD_DIGEST_TAG
from rnnpipe.tracking.record import OUTCOME_FILE, REPRODUCTIONS, Record, fetch_record, write_reproduced
from rnnpipe.tracking.registry import Version
from rnnpipe.training.environment import Environment
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import Event
from rnnpipe.training.supervise import train_supervised

RUN = "reproduce"
SAME_NEEDED = ("torch", "numpy", "safetensors", "platform", "cpu_capability")  # of an environment


@dataclass(frozen=True)
class Means:
    """What a reproduction is done with: a workspace, a launcher, and who hears what happens.

    `tell(stage, sentence)` hears of stages, `follow(label, event)` of the training's journal.
    """

    workspace: Path
    launcher: Launcher
    tell: Callable[[str, str], None]
    follow: Callable[[str, Event], None]


def reproduce(tracking: Tracking, version: Version, means: Means, *, anyway: bool) -> Outcome:
    """Train and evaluate a version again as its record says, compare, and write the result on the version.

    It has a folder of its own in the workspace: a killed one goes on from there, a finished one starts anew.
    Raises TrackingError where the version carries no whole record, DeviceError where this machine can't match it
    (unless `anyway`), DataError where the images aren't those it was trained on, and what stops a training.
    """
    folder = means.workspace / REPRODUCTIONS / digest_of([version.uri, version.tags.get(RECORD_DIGEST_TAG)])[:32]
    with _alone(folder, version):
        record = fetch_record(tracking, version, folder / "version")
        config = _config_of(record, version)
        mismatches = find_mismatches(record, config)
        if mismatches and not anyway:
            raise DeviceError(
                "\n  - ".join([f"this machine can't make {version.uri} again as it was made:", *mismatches]),
                f"match these (the code is {record.environment.revision}); or --anyway, which says what differs",
            )
        config = _as_it_ran(record, config)
        sequences = _sequences(record, config, means)
        training = _train(record, config, sequences, folder, means)
        outcome = compare(folder / "version", record, training, folder / "evaluation", mismatches=mismatches)
        write_reproduced(tracking, version, f"{outcome.text}; {_today()}, rnnpipe {code_revision()}")
        write_json(folder / OUTCOME_FILE, {"text": outcome.text})
    return outcome


@contextlib.contextmanager
def _alone(folder: Path, version: Version) -> Iterator[None]:
    """Hold the lock of a reproduction's folder, and start anew if there is one in it that came to its end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{folder}.lock", is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RnnpipeError(f"another process makes {version.uri} again right now", "wait for it") from None
    try:
        sweep_temporaries(folder.parent)
        if (folder / OUTCOME_FILE).exists():
            remove_folder(folder)
        yield
    finally:
        lock.release()


def find_mismatches(record: Record, config: PipelineConfig) -> list[str]:
    """Return, a line each, what of a record's conditions this machine doesn't meet: "torch: 2.11, here 2.12"."""
    then, here = record.environment, Environment.of_this_process()
    pairs: list[tuple[str, Any, Any]] = [
        (name.replace("_", " "), getattr(then, name), getattr(here, name)) for name in SAME_NEEDED
    ]
    pairs.append(("python", _minor(then.python), _minor(here.python)))
    # the matrix libraries start no more threads than there are cores
    used = {"threads": record.threads, "threads of the evaluation": _evaluation_threads(record)}
    pairs += [(name, min(number, then.cores), min(number, here.cores)) for name, number in used.items()]
    device = resolve_device(_device_name(record)).torch
    pairs.append(("device", record.device, describe_device(device)))
    pairs.append(("precision", record.precision, choose_precision(device, record.precision)[0]))
    pairs.append(("kernels", record.kernels, kernels_here() if record.kernels != "torch" else "torch"))
    code = _code_here(record, config)
    names = sorted(code.keys() | record.code.keys())
    pairs += [(f"code of rnnpipe/{name}", _short(record.code, name), _short(code, name)) for name in names]
    return [f"{name}: {recorded}, here {found}" for name, recorded, found in pairs if recorded != found]


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _short(code: dict[str, str], name: str) -> str:
    return code.get(name, "none")[:12]


def _device_name(record: Record) -> str:
    """Return the name of the device that was used, such as cuda:0; auto where this machine has no such device."""
    name = record.device.partition(": ")[0]
    try:
        return resolve_device(name).name
    except DeviceError:
        return "auto"


def _code_here(record: Record, config: PipelineConfig) -> dict[str, str]:
    """Return the digests of the code here that trained and evaluated there."""
    sequences = StageRef(stage="sequences", key="", digest=record.sequences_digest, facts={})
    training = training_recipe(sequences, config, config.variants[record.variant], record.seed)
    evaluation = evaluation_recipe("", sequences, config.evaluation, config.execution)
    return {**evaluation.inputs["code"], **training.inputs["code"]}


def _config_of(record: Record, version: Version) -> PipelineConfig:
    try:
        return PipelineConfig.model_validate(record.config)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise TrackingError(
            f"the config of {version.uri} isn't one of this rnnpipe: {fields}",
            f"use the code it was made with: {record.environment.revision}",
        ) from None


def _as_it_ran(record: Record, config: PipelineConfig) -> PipelineConfig:
    """Return the config with the device, threads, precision and kernels that were used, if they are here."""
    used = {
        "device": _device_name(record), "threads": record.threads, "precision": record.precision,
        "kernels": "torch" if record.kernels == "torch" else "auto", "timeout_s": None,
    }  # fmt: skip
    return _with_execution(config, used)


def _with_execution(config: PipelineConfig, used: dict[str, Any]) -> PipelineConfig:
    return config.model_copy(update={"execution": config.execution.model_copy(update=used)})


def _evaluation_threads(record: Record) -> int:
    return record.evaluation_threads or record.threads


def _sequences(record: Record, config: PipelineConfig, means: Means) -> Entry:
    """Return the very sequences it was trained on: from the store, else made; DataError if they come out other."""
    store, downloads = Store(means.workspace / "store"), means.workspace / "downloads"
    dataset = _stored_dataset(store, record.dataset_digest)
    if dataset is None:
        tell = partial(means.tell, f"dataset {config.data.name}")
        tell("made again: the store has no such images")
        dataset = store.ensure(
            dataset_recipe(config.data),
            lambda folder: build_dataset(config.data, downloads, folder, tell=tell),
            RUN,
        )
    _check_digest("images", dataset, record.dataset_digest)
    images = dataset
    sequences = store.ensure(
        sequences_recipe(images.ref, config.data, config.sequence),
        lambda folder: build_sequences(images, config.data, config.sequence, folder),
        RUN,
    )
    _check_digest("sequences", sequences, record.sequences_digest)
    return sequences


def _stored_dataset(store: Store, digest: str) -> Entry | None:
    for path in (store.root / DATASET_STAGE).glob(f"*/{MANIFEST}"):
        try:
            manifest = read_json(path)
            if manifest["digest"] == digest:
                return store.resolve(StageRef(**{name: manifest[name] for name in StageRef.model_fields}))
        except (OSError, ValueError, KeyError, TypeError):  # damaged: `ensure` makes it anew
            continue
    return None


def _check_digest(what: str, entry: Entry, digest: str) -> None:
    if entry.ref.digest != digest:
        raise DataError(
            f"the {what} here have the digest {entry.ref.digest[:12]}, the model was trained on {digest[:12]}",
            "bring the dataset back as it was; with other images it would be another model",
        )


def _train(record: Record, config: PipelineConfig, sequences: Entry, folder: Path, means: Means) -> Entry:
    """Train in a store of its own and evaluate beside it; return the training."""
    variant = config.variants[record.variant]
    label = f"{variant.label} s{record.seed}"
    job = {"config": config, "sequences_folder": sequences.path, "variant": record.variant, "seed": record.seed}
    means.tell(label, f"trains again in {folder}")

    def on_events(_: Path, events: list[Event]) -> None:
        for event in events:
            means.follow(label, event)

    training = train_supervised(
        means.launcher, Store(folder / "store"), training_recipe(sequences.ref, config, variant, record.seed),
        job=job, run=RUN, on_events=on_events, on_busy=lambda held: means.tell(label, f"waits for {held}"),
    )  # fmt: skip
    config = _with_execution(config, {"threads": _evaluation_threads(record)})
    evaluation_job.prepare(folder / "evaluation", training.path, sequences.path, config, run=RUN)
    means.launcher.run(evaluation_job.TARGET, folder / "evaluation")
    return training


def _today() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
