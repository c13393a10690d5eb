"""A registered model made again from what its version carries: same, different, refused, interrupted, damaged."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from workspaces import store_data

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import DataError, DeviceError, TrackingError
from rnnpipe.evaluation import job as evaluation_job
from rnnpipe.evaluation.job import evaluation_recipe
from rnnpipe.evaluation.report import PREDICTIONS_FILE, REPORT_FILE
from rnnpipe.files import read_json, scratch_folder, sha256_file, write_json
from rnnpipe.processes.launcher import Launcher
from rnnpipe.reproduction import Means, find_mismatches, reproduce
from rnnpipe.sameness import Outcome, compare
from rnnpipe.store import Entry, Store
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.digests import RECORD_DIGEST_TAG
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.record import DIGESTED_FILES, RECORD_FILE, REPRODUCED_TAG, Record, fetch_record, write_record
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import JOURNAL_FILE, Event, epochs_of, read_journal, step_losses
from rnnpipe.training.supervise import PRELOADED, train_supervised

EPOCHS, BATCH, LIMIT, TEST_IMAGES = 40, 32, 300, 360
UPDATES_PER_EPOCH = -(-(LIMIT - LIMIT // 10) // BATCH)
CONFIG = PipelineConfig.model_validate(
    {
        "data": {"name": "digits", "limit": LIMIT},
        "variants": [
            {"name": "single-neuron"},
            {"name": "gru", "hidden_size": 8, "num_layers": 2, "dropout": 0.2},
        ],
        "training": {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.01, "preflight": False},
        "execution": {"device": "cpu"},
        "evaluation": {"latency_repeats": 10},
    }
)
GRU, SEED = 1, 5


@dataclass(frozen=True)
class Made:
    """A registered model, where it came from, and where MLflow keeps what it carries."""

    tracking: Tracking
    version: Version
    workspace: Path
    training: Entry
    evaluation: Entry
    launcher: Launcher

    @property
    def carried(self) -> Path:
        models = self.workspace / "artifacts" / "digits" / "models"
        return models / self.version.model_uri.removeprefix("models:/") / "artifacts" / "extra_files"


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNPIPE_LOCKS", str(tmp_path_factory.mktemp("locks")))
        with Launcher(PRELOADED) as launcher:
            launcher.warm_up()
            yield launcher


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Made:
    workspace = tmp_path_factory.mktemp("work space")
    store = Store(workspace / "store")
    _, sequences = store_data(store, CONFIG, "r")
    job = {"config": CONFIG, "sequences_folder": sequences.path, "variant": GRU, "seed": SEED}
    recipe = training_recipe(sequences.ref, CONFIG, CONFIG.variants[GRU], SEED)
    training = train_supervised(launcher, store, recipe, job=job, run="r", on_events=lambda *_: None)

    def evaluate(folder: Path) -> dict[str, Any]:
        evaluation_job.prepare(folder, training.path, sequences.path, CONFIG, run="r")
        launcher.run(evaluation_job.TARGET, folder)
        facts: dict[str, Any] = read_json(folder / evaluation_job.RESULT_FILE)
        return facts

    measured = evaluation_recipe(training.ref.digest, sequences.ref, CONFIG.evaluation, CONFIG.execution)
    evaluation = store.ensure(measured, evaluate, "r")
    tracking = open_tracking(sqlite_uri(workspace / "mlflow.db"), "digits", workspace)
    run_id = start_run(tracking, RunSpec("k", "gru", {}, {}, 1_700_000_000_000))
    record = Record.of(CONFIG, GRU, training=training, evaluation=evaluation)
    with scratch_folder() as folder:
        digest, carried = write_record(folder, record, training=training, evaluation=evaluation)
        tags = {RECORD_DIGEST_TAG: digest}
        uri = log_deployed_model(tracking, run_id, training.path, step=0, tags=tags, carried=carried)
    version = registry.register(
        tracking, "digits-rows", Candidate(uri, run_id, training.ref.digest, tags, "A net.")
    )
    return Made(tracking, version, workspace, training, evaluation, launcher)


@pytest.fixture
def record(made: Made) -> Record:
    return Record.model_validate(read_json(made.carried / RECORD_FILE))


@pytest.fixture
def altered(made: Made, record: Record) -> Iterator[Callable[..., Version]]:
    """Return a function that makes the version carry a record with other values."""
    path = made.carried / RECORD_FILE
    before = path.read_bytes()

    def alter(**values: Any) -> Version:
        write_json(path, record.model_copy(update=values).model_dump(mode="json"))
        return replace(made.version, tags={**made.version.tags, RECORD_DIGEST_TAG: sha256_file(path)})

    yield alter
    path.write_bytes(before)


def again(
    made: Made, version: Version, workspace: Path, *, anyway: bool = False, follow: Any = lambda *_: None
) -> Outcome:
    means = Means(workspace, made.launcher, tell=lambda *_: None, follow=follow)
    return reproduce(made.tracking, version, means, anyway=anyway)


def reproduced(made: Made) -> str:
    return registry.resolve_model_uri(made.tracking, made.version.uri).tags[REPRODUCED_TAG]


def test_a_version_carries_all_that_it_was_made_from(made: Made, record: Record) -> None:
    assert {path.name for path in made.carried.iterdir()} == {RECORD_FILE, *DIGESTED_FILES}
    assert made.version.tags[RECORD_DIGEST_TAG] == sha256_file(made.carried / RECORD_FILE)
    assert record.files == {name: sha256_file(made.carried / name) for name in DIGESTED_FILES}
    assert PipelineConfig.model_validate(record.config) == CONFIG and (record.variant, record.seed) == (GRU, SEED)
    assert {"models", "training", "evaluation", "runtime.py"} <= record.code.keys()
    assert (record.threads, record.precision, record.device[:4]) == (1, "fp32", "cpu:")
    environment = record.environment
    assert f"numpy=={environment.numpy}" in environment.packages and "sources" in environment.revision
    assert environment.cpu_capability and environment.torch and environment.python


def test_what_auto_chose_is_used_again_and_nothing_is_measured(
    made: Made, record: Record, altered: Callable[..., Version], tmp_path: Path
) -> None:
    execution = {**record.config["execution"], "threads": "auto"}
    version, starts = altered(config={**record.config, "execution": execution}), list[Event]()
    outcome = again(made, version, tmp_path, follow=lambda _, event: starts.append(event))
    assert outcome.same and record.evaluation_threads == 1
    assert (starts[0]["threads"], starts[0]["threads_reason"]) == (1, "asked for as 1")
    (report,) = tmp_path.glob(f"reproductions/*/evaluation/{REPORT_FILE}")
    assert read_json(report)["threads"] == 1


def test_one_that_is_interrupted_goes_on_and_one_that_is_finished_starts_anew(made: Made) -> None:
    heard: list[list[Event]] = [[], [], []]
    trainings = made.workspace / "reproductions"

    def interrupt(label: str, event: Event) -> None:
        assert label == "gru-8x2-drop0.2 s5"
        heard[0].append(event)
        if epochs_of(heard[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(made, made.version, made.workspace, follow=interrupt)
    before = {path: path.stat().st_mtime_ns for path in made.training.path.rglob("*")}

    outcome = again(made, made.version, made.workspace, follow=lambda _, event: heard[1].append(event))
    updates = EPOCHS * UPDATES_PER_EPOCH
    weights = sha256_file(made.training.path / "weights.safetensors")
    assert outcome.same
    assert outcome.text == (
        f"SAME: weights {weights}, {updates} losses, {EPOCHS} epochs, {TEST_IMAGES} predictions"
    )
    assert reproduced(made).startswith(f"{outcome.text}; 20")
    first = epochs_of(heard[0])
    assert epochs_of(heard[1])[: len(first)] == first
    assert {path: path.stat().st_mtime_ns for path in made.training.path.rglob("*")} == before

    assert again(made, made.version, made.workspace, follow=lambda _, event: heard[2].append(event)).same
    assert epochs_of(heard[2])[0]["time_ms"] > epochs_of(heard[1])[-1]["time_ms"]
    assert not list(trainings.rglob(".*.tmp"))


def test_what_this_machine_does_not_match_is_refused_with_one_list(
    made: Made, record: Record, altered: Callable[..., Version], tmp_path: Path
) -> None:
    environment = record.environment.model_copy(
        update={"torch": "1.0+cpu", "cpu_capability": "AVX9", "numpy": "1.0", "python": "2.7.1", "cores": 999}
    )
    version = altered(
        environment=environment, threads=999, evaluation_threads=998, code={**record.code, "training": "f" * 64}
    )
    with pytest.raises(DeviceError) as refused:
        again(made, version, tmp_path)
    here = record.environment
    _, *lines = refused.value.message.split("\n  - ")
    assert [line.partition(",")[0] for line in lines] == [
        "torch: 1.0+cpu", "numpy: 1.0", "cpu capability: AVX9", "python: 2.7", "threads: 999",
        "threads of the evaluation: 998",
        "code of rnnpipe/training: ffffffffffff",
    ]  # fmt: skip
    assert lines[0] == f"torch: 1.0+cpu, here {here.torch}" and here.revision in refused.value.fix
    assert "--anyway" in refused.value.fix and not list(tmp_path.rglob("trainings"))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"device": "cuda:7: NVIDIA L4"}, "device: cuda:7: NVIDIA L4, here cpu: "),
        ({"device": "cpu: another"}, "device: cpu: another, here cpu: "),
        ({"device": "cuda:7: NVIDIA L4", "precision": "tf32"}, "precision: tf32, here "),
        ({"code": {}}, "code of rnnpipe/models: none, here "),
    ],
)
def test_other_devices_and_other_code_are_seen(record: Record, values: dict[str, Any], line: str) -> None:
    assert find_mismatches(record, CONFIG) == []
    found = find_mismatches(record.model_copy(update=values), CONFIG)
    assert any(mismatch.startswith(line) for mismatch in found)


def test_anyway_names_the_first_step_that_differs_and_why(
    made: Made, record: Record, altered: Callable[..., Version], tmp_path: Path
) -> None:
    environment = record.environment.model_copy(update={"safetensors": "0.0"})
    version = altered(seed=SEED + 1, environment=environment)
    outcome = again(made, version, tmp_path / "new", anyway=True)  # nothing is there: the images are made again
    ((_, loss), *_) = step_losses(read_journal(made.training.path))
    assert not outcome.same
    assert outcome.text.startswith(
        f"DIFFERENT: step 0 (epoch 1) is the first that differs: its loss was {loss!r} ({loss.hex()}), here "
    )
    assert (
        "likely cause: another beginning" in outcome.text and "on this machine differ safetensors" in outcome.text
    )
    assert reproduced(made).startswith(outcome.text)


@pytest.mark.parametrize(("field", "what"), [("dataset_digest", "images"), ("sequences_digest", "sequences")])
def test_other_data_are_refused(
    made: Made, altered: Callable[..., Version], tmp_path: Path, field: str, what: str
) -> None:
    with pytest.raises(
        DataError, match=f"the {what} here have the digest .*, the model was trained on 000000000000"
    ):
        again(made, altered(**{field: "0" * 64}), tmp_path, anyway=True)


@pytest.mark.parametrize("name", [RECORD_FILE, *DIGESTED_FILES])
def test_a_damaged_file_on_the_version_is_named(made: Made, tmp_path: Path, name: str) -> None:
    path = made.carried / name
    before = path.read_bytes()
    try:
        path.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
        with pytest.raises(TrackingError, match=f"{name} of models:/digits-rows/1 is not the file"):
            again(made, made.version, tmp_path)
    finally:
        path.write_bytes(before)


def test_a_missing_file_on_the_version_is_told(made: Made, tmp_path: Path) -> None:
    path = made.carried / RECORD_FILE
    before = path.read_bytes()
    try:
        path.unlink()
        with pytest.raises(TrackingError, match="MLflow can't fetch the files of models:/digits-rows/1"):
            again(made, made.version, tmp_path)
    finally:
        path.write_bytes(before)


def test_a_record_that_is_not_there_or_from_another_time_is_told(
    made: Made, altered: Callable[..., Version], tmp_path: Path
) -> None:
    tags = {name: value for name, value in made.version.tags.items() if name != RECORD_DIGEST_TAG}
    with pytest.raises(TrackingError, match="carries no record"):
        again(made, replace(made.version, tags=tags), tmp_path)
    with pytest.raises(TrackingError, match="isn't one that this rnnpipe reads: format"):
        again(made, altered(format="rnnpipe-record-9"), tmp_path)
    with pytest.raises(TrackingError, match="isn't one of this rnnpipe: unheard"):
        again(made, altered(config={**CONFIG.as_json(), "unheard": 1}), tmp_path)


@pytest.fixture
def recorded(made: Made, tmp_path: Path) -> Path:
    """What the version carries, in a folder that may be changed."""
    fetch_record(made.tracking, made.version, tmp_path / "recorded")
    return tmp_path / "recorded"


def compared(made: Made, recorded: Path, record: Record, *mismatches: str) -> str:
    """Return what a comparison says of the very training with a changed record of it."""
    files = {name: sha256_file(recorded / name) for name in DIGESTED_FILES}
    changed = record.model_copy(update={"files": files, "losses_digest": ""})
    return compare(recorded, changed, made.training, made.evaluation.path, mismatches=list(mismatches)).text


def rewrite(recorded: Path, change: Callable[[Event], Event | None]) -> None:
    path = recorded / Path(JOURNAL_FILE).name
    events = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events if event is not None))


def with_loss(step: int, factor: float) -> Callable[[Event], Event]:
    """Return a function that multiplies the loss of one step."""

    def change(event: Event) -> Event:
        place = step - event.get("first_step", step + 1)
        if event["event"] == "steps" and 0 <= place < len(event["losses"]):
            event["losses"][place] = (float.fromhex(event["losses"][place]) * factor).hex()
        return event

    return change


def test_the_same_is_the_same(made: Made, recorded: Path, record: Record) -> None:
    assert compared(made, recorded, record).startswith("SAME: weights ")
    assert compared(made, recorded, record, "torch: 1, here 2").endswith(", although here differ torch: 1, here 2")


@pytest.mark.parametrize(
    ("factor", "cause"), [(1 + 1e-7, "rounding (relative difference 1e-07)"), (1.5, "another course from here on")]
)
def test_the_first_loss_that_differs_is_found(
    made: Made, recorded: Path, record: Record, factor: float, cause: str
) -> None:
    step = 2 * UPDATES_PER_EPOCH + 3
    rewrite(recorded, with_loss(step, factor))
    rewrite(recorded, with_loss(step + 5, 2.0))
    text = compared(made, recorded, record, "threads: 4, here 2")
    assert text.startswith(f"DIFFERENT: step {step} (epoch 3) is the first that differs")
    assert f"likely cause: {cause}" in text and text.endswith("on this machine differ threads: 4, here 2")


def test_a_journal_that_ends_early_differs(made: Made, recorded: Path, record: Record) -> None:
    def cut(event: Event) -> Event | None:
        return None if event["event"] == "steps" and event["epoch"] == EPOCHS else event

    rewrite(recorded, cut)
    total = EPOCHS * UPDATES_PER_EPOCH
    text = compared(made, recorded, record)
    assert f"it ended after {total - UPDATES_PER_EPOCH} steps, here after {total}" in text


def test_other_validation_weights_and_predictions_are_told_apart(
    made: Made, recorded: Path, record: Record, tmp_path: Path
) -> None:
    pristine = tmp_path / "pristine"
    shutil.copytree(recorded, pristine)

    def worse(event: Event) -> Event:
        return (
            {**event, "validation_loss": 9.0} if event.get("epoch") == 2 and event["event"] == "epoch" else event
        )

    rewrite(recorded, worse)
    assert "all losses are the same, but the validation_loss of epoch 2 was 9.0" in compared(
        made, recorded, record
    )
    shutil.copytree(pristine, recorded, dirs_exist_ok=True)

    predictions = safetensors.numpy.load_file(recorded / PREDICTIONS_FILE)
    predictions["probabilities"][17] = np.roll(predictions["probabilities"][17], 1)
    safetensors.numpy.save_file(predictions, recorded / PREDICTIONS_FILE)
    assert "not the predictions of 1 test images, first image 17" in compared(made, recorded, record)

    weights = safetensors.numpy.load_file(recorded / "weights.safetensors")
    name = sorted(weights)[0]
    safetensors.numpy.save_file({**weights, name: weights[name] + 1}, recorded / "weights.safetensors")
    assert f"but not the weights: {name};" in compared(made, recorded, record)
