"""The two stages of data as jobs, in a process of their own: the fork server has what they need, or soon will.

The process reads `log/job.json` in the stage's folder, and writes what it has to tell to `log/told.jsonl`.
Not in data/, whose code is part of what datasets are made from.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import build_dataset, build_sequences
from rnnpipe.errors import DataError, TrainingError
from rnnpipe.files import read_json, write_json
from rnnpipe.processes.launcher import Launcher
from rnnpipe.references import StageRef
from rnnpipe.store import Entry

JOB_FILE, RESULT_FILE, TOLD_FILE = "log/job.json", "log/result.json", "log/told.jsonl"
LIBRARY = "rnnpipe"  # the logger whose messages are passed on; of others, such as those of plug-ins, warnings

Tell = Callable[[str], None]


def make_dataset(
    launcher: Launcher, config: PipelineConfig, downloads: Path, folder: Path, *, tell: Tell
) -> dict[str, Any]:
    """Do what `build_dataset` does, in a process of its own; DataError where that is killed."""
    job = {"config": config.as_json(), "downloads": str(downloads)}
    return _run(launcher, dataset_job, folder, job, tell)


def make_sequences(launcher: Launcher, config: PipelineConfig, dataset: Entry, folder: Path) -> dict[str, Any]:
    """Do what `build_sequences` does, in a process of its own; DataError where that is killed."""
    images = {"ref": dataset.ref.model_dump(mode="json"), "path": str(dataset.path), "run": dataset.run}
    job = {"config": config.as_json(), "dataset": images}
    return _run(launcher, sequences_job, folder, job)


def _run(
    launcher: Launcher, made_by: Callable[[Path], None], folder: Path, job: dict[str, Any], tell: Tell = print
) -> dict[str, Any]:
    """Run a job, pass on what it tells and logs, and return the facts."""
    write_json(folder / JOB_FILE, job)
    (folder / TOLD_FILE).write_text("", encoding="utf-8")
    with (folder / TOLD_FILE).open(encoding="utf-8") as told:
        lines = _Lines(told, tell)
        try:
            launcher.run(f"{__name__}:{made_by.__name__}", folder, while_waiting=lines.pass_on)
        except TrainingError as error:
            what = made_by.__name__.removesuffix("_job")
            raise DataError(f"{what}: {error.message}; memory may have run out", error.fix) from None
    facts: dict[str, Any] = read_json(folder / RESULT_FILE)
    for name in (JOB_FILE, RESULT_FILE, TOLD_FILE):
        (folder / name).unlink()
    return facts


class _Lines:
    """The lines of a file that another process writes; what isn't a whole line yet waits."""

    def __init__(self, told: TextIO, tell: Tell) -> None:
        self._told, self._tell, self._begun = told, tell, ""

    def pass_on(self) -> None:
        *whole, self._begun = (self._begun + self._told.read()).split("\n")
        for line in whole:
            name, level, message = json.loads(line)
            if name:
                logging.getLogger(name).log(level, "%s", message)
            else:
                self._tell(message)


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
    """Write to `log/told.jsonl` what is logged in the block, and what the yielded function is told."""
    with (folder / TOLD_FILE).open("a", encoding="utf-8") as told:

        def write(name: str, level: int, message: str) -> None:
            with suppress(OSError):  # of a full disk, what is made tells
                told.write(f"{json.dumps([name, level, message])}\n")
                told.flush()

        handler = logging.Handler()
        handler.addFilter(lambda record: record.levelno >= logging.WARNING or record.name.startswith(LIBRARY))
        handler.emit = lambda record: write(record.name, record.levelno, record.getMessage())  # type: ignore[method-assign]
        logging.getLogger().addHandler(handler)
        logging.getLogger(LIBRARY).setLevel(logging.INFO)
        try:
            yield lambda message: write("", logging.INFO, message)
        finally:
            logging.getLogger().removeHandler(handler)
