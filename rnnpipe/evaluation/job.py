"""An evaluation in a process of its own, holding the device it measures."""

from pathlib import Path

from rnnpipe.config import PipelineConfig
from rnnpipe.evaluation.evaluate import build_evaluation
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.slots import device_slot
from rnnpipe.runtime import resolve_device

JOB_FILE = "log/job.json"
RESULT_FILE = "log/result.json"
TARGET = "rnnpipe.evaluation.job:evaluate"


def prepare(folder: Path, model_folder: Path, sequences_folder: Path, config: PipelineConfig) -> None:
    """Write the job that `evaluate` reads."""
    job = {"model": str(model_folder), "sequences": str(sequences_folder), "config": config.as_json()}
    write_json(folder / JOB_FILE, job)


def evaluate(folder: Path) -> None:
    """Evaluate as `log/job.json` says, on the test images; the facts go to `log/result.json`."""
    job = read_json(folder / JOB_FILE)
    config = PipelineConfig.model_validate(job["config"])
    device = resolve_device(config.execution.device)
    with device_slot(device.name, config.execution.threads, f"{config.name} evaluation", folder):
        facts = build_evaluation(Path(job["model"]), Path(job["sequences"]), config, folder)
    write_json(folder / RESULT_FILE, facts)
    (folder / JOB_FILE).unlink()
