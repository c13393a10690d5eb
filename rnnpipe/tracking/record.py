"""What a version carries to be made again: its record, its training's journal, and its predictions.

tag rnnpipe.record_digest   SHA-256 of record.json
record.json                 everything that the training was made from, and the SHA-256 of each other file
weights.safetensors, model.json, journal.jsonl, predictions.safetensors
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.report import PREDICTIONS_FILE
from rnnpipe.evaluation.spec import SPEC_FILE, WEIGHTS_FILE
from rnnpipe.files import digest_of, read_json, sha256_file, write_json
from rnnpipe.store import MANIFEST, Entry
from rnnpipe.tracking.client import Tracking, mlflow_errors, retried
from rnnpipe.tracking.digests import RECORD_DIGEST_TAG
from rnnpipe.tracking.registry import Version, download_files
from rnnpipe.training.environment import Environment
from rnnpipe.training.journal import JOURNAL_FILE, Event, read_journal, step_losses

RECORD_FILE = "record.json"
MAX_MISTAKES = 5
REPRODUCED_TAG = "rnnpipe.reproduced"
REPRODUCTIONS = "reproductions"  # the folder of the workspace in which versions are made again
OUTCOME_FILE = "outcome.json"  # in the folder of one that came to its end
DIGESTED_FILES = (WEIGHTS_FILE, SPEC_FILE, Path(JOURNAL_FILE).name, PREDICTIONS_FILE)


class Record(BaseModel):
    """What a model was made from and what came out; digests are SHA-256 (hex).

    `config` is the resolved one, `variant` the model's place in it, `code` the digests of the sources by folder
    or file of rnnpipe; device, threads, precision and kernels are those that were used, whatever was asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["rnnpipe-record-1"] = "rnnpipe-record-1"
    config: dict[str, Any]
    variant: int
    seed: int
    dataset_digest: str
    sequences_digest: str
    code: dict[str, str]
    device: str
    threads: int
    evaluation_threads: int | None = None  # those of the training, where an older record doesn't say
    precision: str
    kernels: str = "torch"
    environment: Environment
    losses_digest: str
    files: dict[str, str]

    @classmethod
    def of(cls, config: PipelineConfig, variant: int, *, training: Entry, evaluation: Entry) -> Self:
        """Return the record of a training in the store, with its evaluation on the test images."""
        inputs, evaluated = (read_json(entry.path / MANIFEST)["inputs"] for entry in (training, evaluation))
        facts = training.ref.facts
        return cls(
            config=config.as_json(),
            variant=variant,
            seed=facts["seed"],
            dataset_digest=read_json(training.path / SPEC_FILE)["dataset"]["digest"],
            sequences_digest=inputs["sequences"],
            code={**evaluated["code"], **inputs["code"]},
            **{name: facts[name] for name in ("device", "threads", "precision")},
            kernels=facts["kernels_reason"] if facts.get("kernels") == "compiled" else "torch",
            evaluation_threads=evaluation.ref.facts["threads"],
            environment=Environment.of_training(training.path),
            losses_digest=losses_digest(read_journal(training.path)),
            files={path.name: sha256_file(path) for path in _files_of(training, evaluation)},
        )


def losses_digest(events: list[Event]) -> str:
    """Return the SHA-256 (hex) of the losses of all updates in a journal."""
    return digest_of([(step, loss.hex()) for step, loss in step_losses(events)])


def write_record(folder: Path, record: Record, *, training: Entry, evaluation: Entry) -> tuple[str, list[Path]]:
    """Write record.json to `folder`; return its SHA-256 (hex), and the paths of all that a version carries."""
    write_json(folder / RECORD_FILE, record.model_dump(mode="json"))
    return sha256_file(folder / RECORD_FILE), [*_files_of(training, evaluation), folder / RECORD_FILE]


def fetch_record(tracking: Tracking, version: Version, folder: Path) -> Record:
    """Fetch all that a version carries into a folder, and return its record.

    TrackingError if it carries none, or if a file isn't the one that was registered.
    """
    if RECORD_DIGEST_TAG not in version.tags:
        raise TrackingError(
            f"{version.uri} carries no record of its making",
            "it comes from an older rnnpipe: train and register it again",
        )
    fetch, expected = retried(download_files), {RECORD_FILE: version.tags[RECORD_DIGEST_TAG]}
    fetch(tracking, version, (RECORD_FILE,), folder, _checking(version, expected))
    try:
        record = Record.model_validate(read_json(folder / RECORD_FILE))
    except ValueError as error:
        raise TrackingError(
            f"the record of {version.uri} isn't one that this rnnpipe reads: {_mistakes(error)}",
            f"use the rnnpipe it was registered with: {version.tags.get('rnnpipe.code', 'see its tags')}",
        ) from None
    fetch(tracking, version, DIGESTED_FILES, folder, _checking(version, record.files))
    return record


@retried
def write_reproduced(tracking: Tracking, version: Version, text: str) -> None:
    """Write onto a version how making it again came out."""
    with mlflow_errors(f"write the result on {version.uri}"):
        tracking.client.set_model_version_tag(version.name, str(version.number), REPRODUCED_TAG, text)


def _files_of(training: Entry, evaluation: Entry) -> list[Path]:
    return [
        *(training.path / name for name in (WEIGHTS_FILE, SPEC_FILE, JOURNAL_FILE)),
        evaluation.path / PREDICTIONS_FILE,
    ]


def _mistakes(error: ValueError) -> str:
    """Return the fields that aren't as they should be, or what is wrong with the whole."""
    if not isinstance(error, ValidationError):
        return str(error)
    fields = {".".join(map(str, item["loc"])) or item["msg"] for item in error.errors()}
    return ", ".join(sorted(fields)[:MAX_MISTAKES])


def _checking(version: Version, digests: Mapping[str, str]) -> Callable[[Path], None]:
    """Return what checks the fetched files in a folder against their digests."""

    def check(folder: Path) -> None:
        for path in folder.iterdir():
            if sha256_file(path) != digests.get(path.name):
                raise TrackingError(
                    f"{path.name} of {version.uri} is not the file that was registered",
                    "the artifact store is damaged: restore it, or train and register the model again",
                )

    return check
