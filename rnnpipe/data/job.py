"""The two stages of data as jobs, in a process of their own: the fork server has torch and scikit-learn already.

The process reads `log/job.json` in the stage's folder, and writes what it has to tell to `log/told.jsonl`.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import build_dataset, build_sequences
from rnnpipe.errors import DataError, TrainingError
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.launcher import Launcher
from rnnpipe.references import StageRef
from rnnpipe.store import Entry

JOB_FILE, RESULT_FILE, TOLD_FILE = "log/job.json", "log/result.json", "log/told.jsonl"
LIBRARY = "rnnpipe"  # the logger whose messages are passed on

Tell = Callable[[str], None]


def make_dataset(
    launcher: Launcher, config: PipelineConfig, downloads: Path, folder: Path, *, tell: Tell
) -> dict[str, Any]:
    """Do what `build_dataset` does, in a process of its own."""
    job = {"config": config.as_json(), "downloads": str(downloads)}
    return _run(launcher, "rnnpipe.data.job:dataset_job", folder, job, tell)


def make_sequences(launcher: Launcher, config: PipelineConfig, dataset: Entry, folder: Path) -> dict[str, Any]:
    """Do what `build_sequences` does, in a process of its own."""
    images = {"ref": dataset.ref.model_dump(mode="json"), "path": str(dataset.path), "run": dataset.run}
    job = {"config": config.as_json(), "dataset": images}
    return _run(launcher, "rnnpipe.data.job:sequences_job", folder, job, logging.getLogger(__name__).info)


def _run(launcher: Launcher, target: str, folder: Path, job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Run a job, pass on what it tells and logs, and return the facts; DataError where its process is killed."""
    write_json(folder / JOB_FILE, job)
    (folder / TOLD_FILE).write_text("", encoding="utf-8")
    with (folder / TOLD_FILE).open(encoding="utf-8") as told:
        try:
            launcher.run(target, folder, while_waiting=lambda: _pass_on(told, tell))
        except TrainingError as error:
            raise DataError(error.message, error.fix) from None
    facts: dict[str, Any] = read_json(folder / RESULT_FILE)
    for name in (JOB_FILE, RESULT_FILE, TOLD_FILE):
        (folder / name).unlink()
    return facts


def _pass_on(told: Iterator[str], tell: Tell) -> None:
    for line in told:
        try:
            name, level, message = json.loads(line)
        except ValueError:  # torn, as the disk was full
            continue
        if name:
            logging.getLogger(name).log(level, "%s", message)
        else:
            tell(message)


def dataset_job(folder: Path) -> None:
    """Make a dataset as `log/job.json` says; the facts go to `log/result.json`."""
    job = read_json(folder / JOB_FILE)
    config = PipelineConfig.model_validate(job["config"])
    with _telling(folder) as tell:
        write_json(folder / RESULT_FILE, build_dataset(config.data, Path(job["downloads"]), folder, tell=tell))


def sequences_job(folder: Path) -> None:
    """Make sequences as `log/job.json` says; the facts go to `log/result.json`."""
    job = read_json(folder / JOB_FILE)
    config, images = PipelineConfig.model_validate(job["config"]), job["dataset"]
    dataset = Entry(StageRef(**images["ref"]), Path(images["path"]), images["run"])
    with _telling(folder):
        write_json(folder / RESULT_FILE, build_sequences(dataset, config.data, config.sequence, folder))


@contextmanager
def _telling(folder: Path) -> Iterator[Tell]:
    """Write to `log/told.jsonl` what the library logs in the block, and what the yielded function is told."""
    with (folder / TOLD_FILE).open("a", encoding="utf-8") as told:

        def write(name: str, level: int, message: str) -> None:
            told.write(f"{json.dumps([name, level, message])}\n")
            told.flush()

        handler = logging.Handler(logging.INFO)
        handler.emit = lambda record: write(record.name, record.levelno, record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger(LIBRARY)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        yield lambda message: write("", logging.INFO, message)
