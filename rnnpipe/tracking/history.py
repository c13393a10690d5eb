"""What has become of each registered model: its versions, what was decided about them, and the trend."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnpipe.errors import RegistrationError
from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.sparks import spark
from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors, retried
from rnnpipe.tracking.promotion import DECISION_TAG, DETAILS_TAG, REASON_TAG
from rnnpipe.tracking.registry import Version, version_of

DATASET_TAG = "rnnpipe.dataset_digest"
DECIDED_TAG = "rnnpipe.decided"  # by whom and why, where it wasn't the verdict
OTHER_DATA = "│"


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model: its versions, oldest first, and the number of the one that each alias names."""

    name: str
    versions: tuple[Version, ...]
    aliases: Mapping[str, int]
    tags: Mapping[str, str]
    description: str

    def aliases_of(self, version: Version) -> list[str]:
        """Return the aliases of a version."""
        return sorted(alias for alias, number in self.aliases.items() if number == version.number)


@dataclass(frozen=True)
class VersionHistory:
    """What was decided about a version, and its accuracy on the test images with the Wilson 95 % interval.

    Empty and None where nobody has judged it; `decided` says who decided against or without a verdict.
    """

    version: Version
    aliases: list[str]
    verdict: str
    reason: str
    decided: str
    dataset_digest: str
    correct: int | None = None
    total: int | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None


@retried
def read_models(tracking: Tracking, name: str | None = None) -> list[RegisteredModel]:
    """Return every registered model, or the one with this name; TrackingError if there is none."""
    client, versions = tracking.client, dict[str, list[Version]]()
    with mlflow_errors("read the registry"):
        names = sorted(model.name for model in every(client.search_registered_models))
        for found in every(client.search_model_versions):
            versions.setdefault(found.name, []).append(version_of(found))
        models = [client.get_registered_model(each) for each in names if name in (None, each)]
    if name is not None and not models:
        raise RegistrationError(f"no model {name} is registered", f"these are: {', '.join(names) or '(none)'}")
    return [_registered(model, versions.get(model.name, [])) for model in models]


def every(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """Yield all that one of MLflow's searches finds, page by page."""
    token = None
    while page := search(*arguments, page_token=token):
        yield from page
        token = page.token
        if not token:
            return


def standings_of(model: RegisteredModel) -> list[VersionHistory]:
    """Return what stands on each version about its verdict; what is missing or odd there is left out."""
    return [_standing(model, version) for version in model.versions]


def spark_line(standings: Sequence[VersionHistory]) -> str:
    """Return the accuracies as one bar each, scaled from the lowest to the highest; │ where the data changes."""
    measured = [(each.accuracy, each.dataset_digest) for each in standings if each.accuracy is not None]
    text, before = "", measured[0][1] if measured else ""
    for bar, (_, digest) in zip(spark([accuracy for accuracy, _ in measured]), measured, strict=True):
        text += (OTHER_DATA if digest != before else "") + bar
        before = digest
    return text


def _standing(model: RegisteredModel, version: Version) -> VersionHistory:
    correct, total = _counts(version.tags.get(DETAILS_TAG, ""))
    low, high = wilson_interval(correct, total) if correct is not None and total else (None, None)
    return VersionHistory(
        version=version,
        aliases=model.aliases_of(version),
        verdict=version.tags.get(DECISION_TAG, ""),
        reason=version.tags.get(REASON_TAG, ""),
        decided=version.tags.get(DECIDED_TAG, ""),
        dataset_digest=version.tags.get(DATASET_TAG, ""),
        correct=correct,
        total=total,
        accuracy=correct / total if correct is not None and total else None,
        accuracy_low=low,
        accuracy_high=high,
    )


def _registered(
    model: "mlflow.entities.model_registry.RegisteredModel", versions: list[Version]
) -> RegisteredModel:
    return RegisteredModel(
        name=model.name,
        versions=tuple(sorted(versions, key=lambda version: version.number)),
        aliases={alias: int(number) for alias, number in model.aliases.items()},
        tags=dict(model.tags),
        description=model.description or "",
    )


def _counts(details: str) -> tuple[int, int] | tuple[None, None]:
    """Return how many of how many test images a verdict's details count as correct."""
    try:
        found = json.loads(details)
        correct, total = found["candidate_correct"], found["total"]
        is_sound = isinstance(correct, int) and isinstance(total, int) and 0 <= correct <= total and total > 0
    except (ValueError, KeyError, TypeError):
        return None, None
    return (correct, total) if is_sound else (None, None)
