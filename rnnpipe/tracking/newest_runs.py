"""The newest pipeline runs, found without reading all trainings: MLflow may hold a hundred thousand of them.

Trainings are read page by page, those that ended last first. Since some time all of them are known then, and with
them the order of the pipeline runs that ended since; what else these have used is asked for one by one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from rnnpipe.reporting.facts import RunFacts
from rnnpipe.tracking.client import Tracking, mlflow_errors, retried
from rnnpipe.tracking.pipeline_runs import (
    PipelineRun,
    RegisteredVersion,
    TrainingRun,
    experiment_names,
    newest_versions,
    put_together,
    search_trainings,
    training_pages,
    versions_of_runs,
)
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG, RUN_KEY_TAG

ORDER = ("attributes.end_time DESC",)  # those without an end come last
FIRST_PAGE = 100
RUNNING = "attributes.status = 'RUNNING'"

Kept = Callable[[int], Sequence[RunFacts]]
Fits = Callable[[PipelineRun], bool]


@retried
def newest_pipeline_runs(
    tracking: Tracking, experiment: str | None, kept: Kept, *, limit: int, fits: Fits
) -> tuple[list[PipelineRun], bool]:
    """Return pipeline runs, the newest first, down to the `limit`-th that fits; and whether these are all.

    `kept(since)` gives the workspace's runs that were kept since a time in ms since 1970, maybe with earlier ones.
    `fits` may ask for what all trainings of a run have in common, as the earlier ones may be missing.
    """
    with mlflow_errors("list the runs"):
        known, since_ms = _Known(tracking, experiment, kept), 0
        for page, is_last in training_pages(tracking, known.names, order_by=ORDER, first=FIRST_PAGE):
            known.add(page)
            if is_last:
                break
            known.add_running()
            since_ms = (page[-1].ended_at_ms or 0) if page else since_ms
            runs = known.runs_since(since_ms)
            places = [place for place, run in enumerate(runs) if fits(run)]
            if since_ms and len(places) >= limit:
                wanted = places[limit - 1] + 1
                known.complete(runs[:wanted])
                listed = known.runs_since(since_ms)[:wanted]
                ids = [each.run_id for run in listed for each in run.trainings]
                return known.runs_since(since_ms, versions_of_runs(tracking, ids))[:wanted], False
    return put_together(known.trainings, newest_versions(tracking) if known.trainings else {}, kept(0)), True


class _Known:
    """The trainings that were read so far."""

    def __init__(self, tracking: Tracking, experiment: str | None, kept: Kept) -> None:
        self.names = experiment_names(tracking, experiment)
        self._tracking, self._kept = tracking, kept
        self._found: dict[str, TrainingRun] = {}
        self._keys = set[str]()
        self._wholly_known = set[str]()
        self._has_running = False

    @property
    def trainings(self) -> list[TrainingRun]:
        """Each once."""
        return list(self._found.values())

    def add(self, trainings: Iterable[TrainingRun]) -> None:
        """Take trainings in; some may be known."""
        for each in trainings:
            self._found[each.run_id] = each
            self._keys.add(each.tags.get(RUN_KEY_TAG, ""))

    def add_running(self) -> None:
        """Take in those that have no end yet, once."""
        if not self._has_running:
            self.add(search_trainings(self._tracking, self.names, RUNNING))
        self._has_running = True

    def runs_since(
        self, since_ms: int, versions: Mapping[str, RegisteredVersion] = MappingProxyType({})
    ) -> list[PipelineRun]:
        """Return the pipeline runs that ended since or run, the newest first; all trainings since are known."""
        kept = self._kept(since_ms)
        self._wholly_known = {facts.run for facts in kept}
        for facts in kept:
            names = {each: name for each, name in self.names.items() if name == facts.config.experiment}
            for key in {each.training.key for each in facts.trained} - self._keys:
                self.add(search_trainings(self._tracking, names, f"tags.`{RUN_KEY_TAG}` = '{key}'"))
                self._keys.add(key)
        return [
            run for run in put_together(self.trainings, versions, kept)
            if run.ended_at_ms is None or run.ended_at_ms >= since_ms
        ]  # fmt: skip

    def complete(self, runs: Iterable[PipelineRun]) -> None:
        """Take in what else belongs to these runs."""
        for run in runs:
            # a person may have changed a tag
            if run.run not in self._wholly_known and "'" not in run.run:
                self.add(search_trainings(self._tracking, self.names, f"tags.`{PIPELINE_RUN_TAG}` = '{run.run}'"))
