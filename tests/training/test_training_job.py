"""Trainings as stages, each in a process of its own, through the real launcher and store."""

from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout
from training_helpers import SEQUENCES, Trainings

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import DeviceError, RnnpipeError, TrainingError
from rnnpipe.evaluation.deploy import load_model
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.references import StageRef
from rnnpipe.store import MANIFEST
from rnnpipe.training import supervise
from rnnpipe.training.job import prepare, training_recipe
from rnnpipe.training.journal import read_journal, step_losses

JOB_ON_CPU, JOB_ON_GPU = "train_when_told", "train_on_pretended_gpu_when_told"
CORES = [f"cpu-{number}" for number in range(cpu_cores())]


def test_a_training_is_stored_with_all_that_belongs_to_it(trainings, make_config):
    entry = trainings.run(make_config({"preflight": True}))
    facts = entry.ref.facts
    spec, network = load_model(entry.path)
    assert spec.variant.name == facts["variant"].split("-")[0] == "rnn" and not network.training
    assert (facts["epochs"], facts["seed"], facts["threads"], facts["precision"]) == (3, 0, 1, "fp32")
    assert facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert facts["validation_accuracy"] > 1 / 3 and facts["wall_s"] > 0 and facts["device"].startswith("cpu")
    assert [event["event"] for event in trainings.told if event["event"] != "steps"] == [
        "start",
        *["epoch"] * 3,
        "end",
    ]
    assert trainings.told == read_journal(entry.path)
    assert [step for step, _ in step_losses(trainings.told)] == list(range(18))
    assert not (entry.path / "log/job.json").exists() and not list(entry.path.rglob(".*"))


def test_a_stored_training_is_not_done_again(trainings, make_config):
    first = trainings.run(make_config())
    trainings.told.clear()
    assert trainings.run(make_config()).ref == first.ref and trainings.told == []


def test_two_trainings_of_one_recipe_have_the_same_weights(trainings, make_config, launcher, tmp_path):
    other = Trainings(launcher, tmp_path / "other", trainings.sequences_folder)
    first, second = trainings.run(make_config()), other.run(make_config())
    assert first.ref.digest == second.ref.digest


@pytest.mark.parametrize("unlinked", [[MANIFEST], [MANIFEST, "log/result.json"], ["weights.safetensors"]])
def test_a_finished_training_that_lost_a_file_is_finished_again(trainings, make_config, unlinked):
    first, told = trainings.run(make_config()), list(trainings.told)
    for name in unlinked:
        (first.path / name).unlink()
    trainings.told.clear()
    again = Trainings(trainings.launcher, trainings.store.root, trainings.sequences_folder)
    second = again.run(make_config())
    assert second.ref == first.ref
    assert again.told[:-2] == told[:-1]
    assert [event["event"] for event in again.told[-2:]] == ["resumed", "end"]
    assert again.told == read_journal(second.path)


def test_what_stopped_a_training_arrives_and_the_next_try_may_succeed(trainings, make_config, tmp_path):
    folder = tmp_path / "alike"
    folder.mkdir()
    for path in trainings.sequences_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    np.save(folder / "train_x.npy", np.zeros_like(np.load(folder / "train_x.npy")))
    config = make_config({"preflight": True})
    with pytest.raises(TrainingError, match="can't learn 8 images") as found:
        trainings.run(config, folder)
    assert "preflight" in found.value.fix and (trainings.folder / "log/error.json").exists()
    entry = trainings.run(config)
    assert not (entry.path / "log/error.json").exists()


def test_a_missing_device_is_told(trainings, make_config):
    with pytest.raises(DeviceError, match="cuda:7 was asked for"):
        trainings.run(make_config(device="cuda:7"))


def test_a_mistake_of_ours_names_the_output_with_the_traceback(trainings, make_config, tmp_path):
    with pytest.raises(RnnpipeError, match="FileNotFoundError") as found:
        trainings.run(make_config(), tmp_path / "nowhere")
    assert "Traceback" in Path(found.value.fix.removeprefix("see ")).read_text(encoding="utf-8")


def test_running_out_of_memory_names_the_batch(trainings, make_config, monkeypatch):
    monkeypatch.setattr(supervise, "TARGET", "training_workers:train_without_memory")
    with pytest.raises(TrainingError, match="cpu ran out of memory with 16 images an update") as found:
        trainings.run(make_config())
    assert "training.batch_size" in found.value.fix


def test_a_training_imports_neither_prefect_nor_mlflow(launcher, sequences_folder, make_config, tmp_path):
    prepare(tmp_path / "run", sequences_folder, config=make_config(), variant=0, seed=0, run="r")
    launcher.run("training_workers:train_and_tell_modules", tmp_path / "run")
    packages = {name.partition(".")[0] for name in (tmp_path / "run.modules").read_text().splitlines()}
    assert "torch" in packages and not packages & {"prefect", "mlflow", "flows", "matplotlib", "sklearn"}


@pytest.fixture(name="target")
def set_target(request, monkeypatch):
    monkeypatch.setattr(supervise, "TARGET", f"training_workers:{request.param}")


def is_free(path: Path) -> bool:
    lock = FileLock(path, is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


@pytest.mark.parametrize(
    ("target", "threads", "share", "names"),
    [
        (JOB_ON_CPU, 1, 1, CORES),
        (JOB_ON_CPU, 64, len(CORES), CORES),
        (JOB_ON_GPU, 64, 1, ["cuda-1-0"]),
    ],
    indirect=["target"],
)
@pytest.mark.usefixtures("target")
def test_a_training_holds_its_share_of_the_device(trainings, make_config, locks, *, threads, share, names):
    held: set[str] = set()

    def look(folder: Path) -> None:
        if Path(f"{folder}.ready").exists() and not Path(f"{folder}.go").exists():
            held.update(path.stem for path in locks.glob("*.lock") if not is_free(path))
            Path(f"{folder}.go").touch()

    trainings.while_training = look
    trainings.run(make_config(threads=threads))
    assert len(held) == share and held <= set(names)
    assert all(is_free(path) for path in locks.glob("*.lock"))


def test_the_recipe_holds_what_changes_weights_and_nothing_else(make_config):
    def key(config: PipelineConfig, seed: int = 0, sequences: StageRef = SEQUENCES) -> str:
        return training_recipe(sequences, config, config.variants[0], seed).key

    base = key(make_config())
    assert (
        base
        == key(make_config({"preflight": True}))
        == key(make_config(timeout_s=5))
        == key(make_config(checkpoint_every_s=3))
        == key(make_config(when_busy="give-up"))
    )
    changed = [
        key(make_config(), seed=1),
        key(make_config(), sequences=SEQUENCES.model_copy(update={"digest": "e" * 64})),
        key(make_config({"epochs": 4})),
        key(make_config({"learning_rate": 0.03})),
        key(make_config(threads=2)),
        key(make_config(precision="bf16")),
        key(make_config(device="auto")),
    ]
    assert len({base, *changed}) == 1 + len(changed)


def test_a_variants_own_learning_rate_counts_once(make_config):
    values = make_config().model_dump()
    own = PipelineConfig.model_validate(
        {**values, "variants": [{**values["variants"][0], "learning_rate": values["training"]["learning_rate"]}]}
    )
    first, second = (training_recipe(SEQUENCES, each, each.variants[0], 0) for each in (make_config(), own))
    assert first == second
