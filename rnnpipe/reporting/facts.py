"""What a pipeline run did, as it is kept in the workspace: references, figures and sentences, no data.

From them its page is made: at the run's end, and again whenever somebody asks for it.
"""

import calendar
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import RnnpipeError
from rnnpipe.evaluation.leaderboard import Candidate, Leaderboard, TrainingSummary
from rnnpipe.evaluation.promotion import Verdict
from rnnpipe.files import read_json, write_json
from rnnpipe.references import Reference, StageRef

RUNS = "runs"  # the folder of the workspace with a folder a run
FACTS_FILE = "run.json"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S UTC"
FIGURES = "figures"  # of a run: those that are of no single evaluation


class Trained(Reference):
    """A variant (by its place in the config) with a seed: trained and, once that is done, measured."""

    label: str
    variant: int
    seed: int
    training: StageRef
    evaluation: StageRef | None = None


class Stage(Reference):
    """A stage as its run named it, and why it ran or was skipped."""

    name: str
    sentence: str


class Failure(Reference):
    """A training that didn't come to its end."""

    label: str
    message: str
    fix: str

    @classmethod
    def of(cls, label: str, error: BaseException) -> Self:
        """Take message and fix of an error, whatever its kind."""
        if isinstance(error, RnnpipeError):
            return cls(label=label, message=error.message, fix=error.fix)
        return cls(label=label, message=f"{type(error).__name__}: {error}", fix="")


class RunFacts(Reference):
    """A pipeline run: what it was to do, what came out, and why each stage ran.

    `chosen` is the model that is registered. Verdict, version and champion are there once MLflow holds the run
    (`tracked`) and a model was to be registered. `environment` says what the chosen model was trained with.
    """

    run: str
    at: str
    config: PipelineConfig
    dataset: StageRef
    trained: tuple[Trained, ...]
    leaderboard: Leaderboard
    chosen: Candidate
    conditions: str
    environment: dict[str, str] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    failures: tuple[Failure, ...] = ()
    drift: str = ""
    tracked: bool = False
    verdict: Verdict | None = None
    model_uri: str = ""
    champion: str = ""

    @property
    def best(self) -> Trained:
        """The model that is registered, with its references."""
        return trained_of(self.chosen.row, self.config, self.trained)

    @property
    def at_ms(self) -> int:
        """When it was first kept, in ms since 1970."""
        return 1000 * calendar.timegm(time.strptime(self.at, TIME_FORMAT))

    @property
    def is_unchanged(self) -> bool:
        """Whether the best model was the champion before this run."""
        return self.verdict is not None and self.verdict.champion_version == self.model_uri


def trained_of(row: TrainingSummary, config: PipelineConfig, trained: Iterable[Trained]) -> Trained:
    """Return the training that a row of the leaderboard tells of."""
    names = (row.label, row.seed)
    return next(each for each in trained if (config.variants[each.variant].label, each.seed) == names)


def run_folder(workspace: Path, run: str) -> Path:
    """Return the folder of what is kept of a run."""
    return workspace / RUNS / run


def keep_facts(workspace: Path, facts: RunFacts) -> None:
    """Write a run's facts; later ones replace earlier ones."""
    write_json(run_folder(workspace, facts.run) / FACTS_FILE, facts.model_dump(mode="json"))


def read_facts(workspace: Path, run: str) -> RunFacts | None:
    """Return the facts of a run; None where none are kept that this rnnpipe can read."""
    return _read(run_folder(workspace, run) / FACTS_FILE)


def kept_facts(workspace: Path, since_ms: int = 0) -> list[RunFacts]:
    """Return the facts of the runs that were kept, the newest first: of all, or since a time in ms since 1970."""
    found = [facts for facts in newest_facts(workspace, since_ms) if facts.at_ms >= since_ms]
    return sorted(found, key=lambda facts: facts.at, reverse=True)  # of one second, as they were written


def newest_facts(workspace: Path, since_ms: int = 0) -> Iterator[RunFacts]:
    """Yield the facts of kept runs, those that were written last first, each read when it is asked for.

    Facts are written when a run is kept, and maybe again: what wasn't written since a time, wasn't kept since.
    """
    times_ns = {path: path.stat().st_mtime_ns for path in (workspace / RUNS).glob(f"*/{FACTS_FILE}")}
    for path in sorted(times_ns, key=times_ns.__getitem__, reverse=True):
        if times_ns[path] < since_ms * 1_000_000:
            return
        if (facts := _read(path)) is not None:
            yield facts


def now() -> str:
    """Return the time as it is kept and shown."""
    return time.strftime(TIME_FORMAT, time.gmtime())


def _read(path: Path) -> RunFacts | None:
    try:
        return RunFacts.model_validate(read_json(path))
    except (OSError, ValidationError, ValueError):
        return None
