"""Past pipeline runs, put together from their trainings in MLflow and the versions that came of them.

A training in MLflow names the last run that used it; which others did is known where the workspace keeps them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.reporting.facts import RunFacts
from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors, retried
from rnnpipe.tracking.history import every, read_models
from rnnpipe.tracking.promotion import DECISION_TAG
from rnnpipe.tracking.registry import Version, version_of
from rnnpipe.tracking.runs import CONFIG_NAME_TAG, PIPELINE_RUN_TAG, RUN_KEY_TAG

PREFIX = "rnnpipe."  # of tags; in what is searched for it may be left out
PAGE = 1000
MOST_IDS = 100  # in a query


@dataclass(frozen=True)
class TrainingRun:
    """A training in MLflow: variant (label), seed, status, end (ms since 1970), test accuracy with 95 % interval.

    The end is None while it runs, the accuracy until it is measured.
    """

    run_id: str
    experiment: str
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
    """A pipeline run by its id: its trainings in MLflow, the newest version they came to, its end (ms since 1970).

    Of a run that the workspace doesn't keep, the trainings are those that no later run has used, and its end is
    that of the last of them, None while none has ended.
    """

    run: str
    config: str
    trainings: tuple[TrainingRun, ...]
    version: RegisteredVersion | None
    ended_at_ms: int | None

    @property
    def experiment(self) -> str:
        """The MLflow experiment that it is in."""
        return self.trainings[0].experiment

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
def read_pipeline_runs(
    tracking: Tracking, experiment: str | None = None, kept: Sequence[RunFacts] = ()
) -> list[PipelineRun]:
    """Return the pipeline runs of all experiments, or of one, the newest first; `kept` are the workspace's."""
    with mlflow_errors("list the runs"):
        names = experiment_names(tracking, experiment)
        trainings = search_trainings(tracking, names)
    return put_together(trainings, newest_versions(tracking) if trainings else {}, kept)


def experiment_names(tracking: Tracking, experiment: str | None) -> dict[str, str]:
    """Return the names of all experiments, or of one, by id."""
    return {
        str(each.experiment_id): str(each.name)
        for each in every(tracking.client.search_experiments)
        if experiment in (None, each.name)
    }


def search_trainings(tracking: Tracking, names: Mapping[str, str], condition: str = "") -> list[TrainingRun]:
    """Return the trainings of experiments that meet a condition, a query of MLflow: "" for all."""
    return [training for page, _ in training_pages(tracking, names, condition) for training in page]


def training_pages(
    tracking: Tracking,
    names: Mapping[str, str],
    condition: str = "",
    *,
    order_by: Sequence[str] = (),
    first: int = 0,
) -> Iterator[tuple[list[TrainingRun], bool]]:
    """Yield trainings page by page, and whether it is the last; demos belong to runs too, but have no variant.

    With `first`, the first page is that small, and each next one twice as large: a run costs MLflow milliseconds.
    """
    query, view = f"tags.`{PIPELINE_RUN_TAG}` LIKE '%'", mlflow.entities.ViewType.ACTIVE_ONLY
    query = f"{query} and {condition}" if condition else query
    token, is_last, size = None, not names, first or PAGE
    while not is_last:
        page = tracking.client.search_runs(list(names), query, view, min(size, PAGE), list(order_by), token)
        size *= 2
        token, is_last = page.token, not page.token
        yield [_training(run, names) for run in page if "variant" in run.data.params], is_last


def put_together(
    trainings: Sequence[TrainingRun], versions: Mapping[str, RegisteredVersion], kept: Sequence[RunFacts]
) -> list[PipelineRun]:
    """Return the pipeline runs that trainings make up, the newest first; `kept` are the workspace's."""
    groups: dict[tuple[str, str], list[TrainingRun]] = {}
    for each in trainings:
        groups.setdefault((each.experiment, each.tags[PIPELINE_RUN_TAG]), []).append(each)
    found = {place: _pipeline_run(place[1], group, versions) for place, group in groups.items()}
    by_key: dict[str, list[TrainingRun]] = {}
    for each in trainings:
        by_key.setdefault(each.tags.get(RUN_KEY_TAG, ""), []).append(each)
    for facts in kept:
        keys = dict.fromkeys(each.training.key for each in facts.trained)
        used = [each for key in keys for each in by_key.get(key, ()) if is_of(facts, each)]
        if used:
            found[used[0].experiment, facts.run] = _pipeline_run(facts.run, used, versions, facts)
    return sorted(found.values(), key=lambda each: each.ended_at_ms or float("inf"), reverse=True)


def is_of(facts: RunFacts, training: TrainingRun) -> bool:
    """Say whether a training lies where a kept run has its own."""
    return training.experiment == facts.config.experiment


def _training(run: "mlflow.entities.Run", experiments: Mapping[str, str]) -> TrainingRun:
    metrics, names = run.data.metrics, MetricNames
    return TrainingRun(
        run_id=str(run.info.run_id),
        experiment=experiments[str(run.info.experiment_id)],
        variant=run.data.params["variant"],
        seed=int(run.data.params.get("seed", 0)),
        status=str(run.info.status),
        ended_at_ms=run.info.end_time,
        accuracy=metrics.get(names.TEST_ACCURACY),
        accuracy_low=metrics.get(names.TEST_ACCURACY_LOW),
        accuracy_high=metrics.get(names.TEST_ACCURACY_HIGH),
        tags=dict(run.data.tags),
    )


def newest_versions(tracking: Tracking) -> dict[str, RegisteredVersion]:
    """Return the newest version of each run in MLflow, by the run's id."""
    return {
        version.run_id: _registered(version, model.aliases_of(version))
        for model in read_models(tracking)
        for version in model.versions
    }


def versions_of_runs(tracking: Tracking, run_ids: Sequence[str]) -> dict[str, RegisteredVersion]:
    """Return the newest version of each of these runs in MLflow that has one, by the run's id."""
    found: list[Version] = []
    for start in range(0, len(run_ids), MOST_IDS):
        named = ", ".join(f"'{each}'" for each in run_ids[start : start + MOST_IDS])
        found += [
            version_of(each)
            for each in every(partial(tracking.client.search_model_versions, f"run_id IN ({named})"))
        ]
    aliases = {
        name: tracking.client.get_registered_model(name).aliases for name in {version.name for version in found}
    }
    return {
        version.run_id: _registered(
            version, sorted(a for a, number in aliases[version.name].items() if int(number) == version.number)
        )
        for version in sorted(found, key=lambda version: version.number)
    }


def _registered(version: Version, aliases: Sequence[str]) -> RegisteredVersion:
    return RegisteredVersion(
        uri=version.uri,
        verdict=version.tags.get(DECISION_TAG, ""),
        aliases=tuple(aliases),
        run_id=version.run_id,
        tags=version.tags,
    )


def _pipeline_run(
    run: str,
    trainings: Sequence[TrainingRun],
    versions: Mapping[str, RegisteredVersion],
    facts: RunFacts | None = None,
) -> PipelineRun:
    mine = [versions[each.run_id] for each in trainings if each.run_id in versions]
    names = [each.tags[CONFIG_NAME_TAG] for each in trainings if CONFIG_NAME_TAG in each.tags]
    ends = [each.ended_at_ms for each in trainings if each.ended_at_ms]
    return PipelineRun(
        run=run,
        config=facts.config.name if facts else next(iter(names), ""),
        trainings=tuple(sorted(trainings, key=lambda each: (each.variant, each.seed))),
        version=max(mine, key=lambda each: int(each.uri.rpartition("/")[2]), default=None),
        ended_at_ms=facts.at_ms if facts else max(ends, default=None),
    )
