"""A training as a stage: its recipe, the process that trains, and what is kept of it.

The process reads `log/job.json` in the stage's folder and imports neither Prefect nor MLflow. It holds the lock of
its device for its whole life.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import PipelineConfig, VariantConfig
from rnnpipe.config.execution import DECIDING
from rnnpipe.config.training import OF_TRAINING
from rnnpipe.files import read_json, sha256_file, sha256_tree, write_json
from rnnpipe.plugins import code_of
from rnnpipe.references import Recipe, Reference, StageRef

if TYPE_CHECKING:
    from rnnpipe.training.work import Assignment

JOB_FILE = "log/job.json"
RESULT_FILE = "log/result.json"
MEETING_FILE, ADDRESS = "log/meeting.json", "address"  # of the node that leads others: what they are told
TARGET = "rnnpipe.training.job:train"
PACKAGE = Path(__file__).parents[1]
CODE_FOLDERS = ("models", "training")
CODE_FILES = (
    "runtime.py",
    "evaluation/deploy.py",
    "evaluation/spec.py",
    "evaluation/metrics.py",
    "evaluation/predict.py",
)


class Part(Reference):
    """Which node of a training this is, of how many; its own address, and that of the leading node's meeting."""

    node: int = 0
    nodes: int = 1
    host: str = ""
    leader: str = ""


WHOLE = Part()


def training_recipe(sequences: StageRef, config: PipelineConfig, variant: VariantConfig, seed: int) -> Recipe:
    """Return what a training's weights are made from; the device and the thread count are part of it."""
    training = config.training_of(variant).model_dump(mode="json", exclude={"preflight"})
    inputs = {
        "sequences": sequences.digest,
        "variant": variant.model_dump(mode="json", exclude=OF_TRAINING),
        "training": training,
        "seed": seed,
        "execution": config.execution.model_dump(mode="json", include=set(DECIDING)),
        "torch": version("torch"),
        "code": {
            **{name: sha256_tree(PACKAGE / name) for name in CODE_FOLDERS},
            **{name: sha256_file(PACKAGE / name) for name in CODE_FILES},
        },
        **code_of(VARIANTS[variant.name]),
    }
    return Recipe(stage="trainings", inputs=inputs)


def prepare(
    folder: Path, sequences_folder: Path, *, config: PipelineConfig, variant: int, seed: int, run: str,
    part: Part = WHOLE,
) -> None:  # fmt: skip
    """Write the job that `train` reads; `variant` is its place in the config."""
    job = {"sequences": str(sequences_folder), "variant": variant, "seed": seed, "run": run}
    write_json(folder / JOB_FILE, {**job, "config": config.as_json(), "part": part.model_dump()})


def collect(folder: Path) -> dict[str, Any]:
    """Return the facts of a finished training and remove what only the process needed."""
    facts: dict[str, Any] = read_json(folder / RESULT_FILE)
    (folder / JOB_FILE).unlink()
    return facts


def train(folder: Path) -> None:
    """Train as `log/job.json` says; writes weights.safetensors, model.json, journal, checkpoints, result.

    Raises TrainingError, DeviceError.
    """
    from rnnpipe.training.environment import keep_environment
    from rnnpipe.training.work import run_training

    keep_environment(folder)
    write_json(folder / RESULT_FILE, run_training(assignment_of(folder)))


def assignment_of(folder: Path) -> "Assignment":
    """Return the training that `prepare` has described in a folder."""
    from rnnpipe.training.work import Assignment

    job = read_json(folder / JOB_FILE)
    config = PipelineConfig.model_validate(job["config"])
    variant = config.variants[job["variant"]]
    return Assignment(
        folder, Path(job["sequences"]), config, variant, seed=job["seed"], run=job["run"], part=Part(**job["part"])
    )
