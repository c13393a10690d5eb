"""Past pipeline runs, put together from their trainings in MLflow and the versions that came of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors, retried
from rnnpipe.tracking.history import every, read_models
from rnnpipe.tracking.promotion import DECISION_TAG
from rnnpipe.tracking.runs import CONFIG_NAME_TAG, PIPELINE_RUN_TAG

PREFIX = "rnnpipe."  # of tags; in what is searched for it may be left out
PAGE = 1000


@dataclass(frozen=True)
class TrainingRun:
    """A training in MLflow: variant (label), seed, status, end (ms since 1970), test accuracy with 95 % interval.

    The end is None while it runs, the accuracy until it is measured.
    """

    run_id: str
    variant: str
    seed: int
    status: str
    ended_at_ms: int | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RegisteredVersion:
    """A version that came of a pipeline run, the verdict on it, and its aliases."""

    uri: str
    verdict: str
    aliases: tuple[str, ...]
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class PipelineRun:
    """A pipeline run by its id: the trainings that no later run has used, and the newest version they came to."""

    run: str
    experiment: str
    config: str
    trainings: tuple[TrainingRun, ...]
    version: RegisteredVersion | None

    @property
    def ended_at_ms(self) -> int | None:
        """When the last of its trainings ended, in ms since 1970; None while none has."""
        return max((each.ended_at_ms for each in self.trainings if each.ended_at_ms), default=None)

    @property
    def best(self) -> TrainingRun | None:
        """The training that was registered, else the one with the highest test accuracy; None if none has one."""
        measured = [each for each in self.trainings if each.accuracy is not None]
        if self.version is not None:
            measured = [each for each in measured if each.run_id == self.version.run_id] or measured
        return max(measured, key=lambda each: each.accuracy or 0.0, default=None)

    def has_tag(self, name: str, value: str | None) -> bool:
        """Say whether a training or the version has a tag, with this value unless it is None."""
        tagged = [each.tags for each in self.trainings] + ([self.version.tags] if self.version else [])
        found = [tags[key] for tags in tagged for key in (name, f"{PREFIX}{name}") if key in tags]
        return bool(found) if value is None else value in found


@retried
def read_pipeline_runs(tracking: Tracking, experiment: str | None = None) -> list[PipelineRun]:
    """Return the pipeline runs of all experiments, or of one, the newest first."""
    with mlflow_errors("list the runs"):
        names = {
            str(each.experiment_id): str(each.name)
            for each in every(tracking.client.search_experiments)
            if experiment in (None, each.name)
        }
        groups: dict[tuple[str, str], list[TrainingRun]] = {}
        for run in _trainings(tracking, list(names)):
            place = str(run.info.experiment_id), run.data.tags[PIPELINE_RUN_TAG]
            groups.setdefault(place, []).append(_training(run))
    versions = _versions(tracking) if groups else {}
    found = [_pipeline_run(run, names[place], group, versions) for (place, run), group in groups.items()]
    return sorted(found, key=lambda each: each.ended_at_ms or float("inf"), reverse=True)


def _trainings(tracking: Tracking, experiments: Sequence[str]) -> "Iterator[mlflow.entities.Run]":
    """Yield the runs of trainings; demos belong to a pipeline run too, but have no variant."""
    if experiments:
        query, view = f"tags.`{PIPELINE_RUN_TAG}` LIKE '%'", mlflow.entities.ViewType.ACTIVE_ONLY
        found = every(tracking.client.search_runs, list(experiments), query, view, PAGE)
        yield from (run for run in found if "variant" in run.data.params)


def _training(run: "mlflow.entities.Run") -> TrainingRun:
    metrics, names = run.data.metrics, MetricNames
    return TrainingRun(
        run_id=str(run.info.run_id),
        variant=run.data.params["variant"],
        seed=int(run.data.params.get("seed", 0)),
        status=str(run.info.status),
        ended_at_ms=run.info.end_time,
        accuracy=metrics.get(names.TEST_ACCURACY),
        accuracy_low=metrics.get(names.TEST_ACCURACY_LOW),
        accuracy_high=metrics.get(names.TEST_ACCURACY_HIGH),
        tags=dict(run.data.tags),
    )


def _versions(tracking: Tracking) -> dict[str, RegisteredVersion]:
    """Return the newest version of each run in MLflow, by the run's id."""
    return {
        version.run_id: RegisteredVersion(
            uri=version.uri,
            verdict=version.tags.get(DECISION_TAG, ""),
            aliases=tuple(model.aliases_of(version)),
            run_id=version.run_id,
            tags=version.tags,
        )
        for model in read_models(tracking)
        for version in model.versions
    }


def _pipeline_run(
    run: str, experiment: str, trainings: list[TrainingRun], versions: Mapping[str, RegisteredVersion]
) -> PipelineRun:
    mine = [versions[each.run_id] for each in trainings if each.run_id in versions]
    names = [each.tags[CONFIG_NAME_TAG] for each in trainings if CONFIG_NAME_TAG in each.tags]
    return PipelineRun(
        run=run,
        experiment=experiment,
        config=names[0] if names else "",
        trainings=tuple(sorted(trainings, key=lambda each: (each.variant, each.seed))),
        version=max(mine, key=lambda each: int(each.uri.rpartition("/")[2]), default=None),
    )
