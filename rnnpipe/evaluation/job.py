"""An evaluation as a stage: its recipe, and the process that holds the device it measures.

The process brings torch; planning does without.
"""

from pathlib import Path

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import EvaluationConfig, ExecutionConfig, PipelineConfig
from rnnpipe.config.execution import DECIDING
from rnnpipe.evaluation.metrics import SplitName
from rnnpipe.files import read_json, sha256_tree, write_json
from rnnpipe.plugins import code_of
from rnnpipe.processes.slots import Job, cpu_cores, device_slot
from rnnpipe.references import Recipe, StageRef

JOB_FILE = "log/job.json"
RESULT_FILE = "log/result.json"
TARGET = "rnnpipe.evaluation.job:evaluate"


def evaluation_recipe(
    model_digest: str,
    sequences: StageRef,
    evaluation: EvaluationConfig,
    execution: ExecutionConfig,
    *,
    split: SplitName = "test",
    subject: str = "",
) -> Recipe:
    """Return what an evaluation depends on: model, images, how and on what it is measured, and the code."""
    package = Path(__file__).parent.parent
    return Recipe(
        stage="evaluations",
        subject=subject,
        inputs={
            "model": model_digest,
            "sequences": sequences.digest,
            "split": split,
            "evaluation": evaluation.model_dump(mode="json"),
            "execution": execution.model_dump(mode="json", include=set(DECIDING)),
            "code": {name: sha256_tree(package / name) for name in ("evaluation", "models")},
            **code_of(*VARIANTS.values()),
        },
    )


def prepare(folder: Path, model_folder: Path, sequences_folder: Path, config: PipelineConfig, *, run: str) -> None:
    """Write the job that `evaluate` reads."""
    job = {"model": str(model_folder), "sequences": str(sequences_folder), "run": run}
    write_json(folder / JOB_FILE, {**job, "config": config.as_json()})


def threads_on(device: str, execution: ExecutionConfig) -> int:
    """Return how many CPU threads an evaluation uses on a device; auto: all cores, as no other runs beside it.

    A single image has too little work to share: with auto its latency is measured on one thread.
    """
    return execution.threads_within(cpu_cores() if device == "cpu" else 1)


def evaluate(folder: Path) -> None:
    """Evaluate as `log/job.json` says, on the test images; the facts go to `log/result.json`."""
    from rnnpipe.evaluation.evaluate import build_evaluation
    from rnnpipe.runtime import resolve_device

    job = read_json(folder / JOB_FILE)
    config = PipelineConfig.model_validate(job["config"])
    device = resolve_device(config.execution.device)
    threads = threads_on(device.name, config.execution)
    with device_slot(device.name, Job(f"{config.name} evaluation", job["run"], threads), folder):
        facts = build_evaluation(Path(job["model"]), Path(job["sequences"]), config, folder)
    write_json(folder / RESULT_FILE, facts)
    (folder / JOB_FILE).unlink()
