"""What can be removed from MLflow and the workspace, and why the rest stays.

MLflow's own `gc` doesn't look at the registry: it destroys the files of a live champion. Here nothing goes that an
alias or a version needs. Before a version or a stored model goes, the registry is looked at again, under the lock;
before a folder goes, whether it was used or written since.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rnnpipe.errors import RegistrationError
from rnnpipe.files import usage_of
from rnnpipe.tracking.client import Tracking, delete_artifacts, mlflow, mlflow_errors
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.history import RegisteredModel, every, read_models
from rnnpipe.tracking.leftovers import prunable_files
from rnnpipe.tracking.prunable import NEEDED, Item, Rules
from rnnpipe.tracking.registry import FINGERPRINT_TAG, MODEL_VERSIONS_TAG, Version

VERSION = "version"
MS_PER_S = 1000


def plan_pruning(tracking: Tracking, workspace: Path, rules: Rules) -> list[Item]:
    """Return everything that could go, in the order in which it has to: versions, their models, the workspace."""
    models = read_models(tracking)
    versions = {
        version.uri: (version, item) for model in models for version, item in _versions(tracking, model, rules)
    }
    kept = [version for version, item in versions.values() if item.remove is None]
    named = {version.uri for model in models for version in model.versions if model.aliases_of(version)}
    return [
        *(item for _, item in versions.values()),
        *_stored_models(tracking, kept, rules),
        *prunable_files(workspace, kept, [version for version in kept if version.uri in named], rules),
    ]


def remove_all(items: Sequence[Item]) -> Iterator[tuple[Item, bool]]:
    """Remove what may go, one after the other, and yield each with whether it went.

    RegistrationError where a version got an alias meanwhile, as more may be needed then than was thought.
    """
    for item in items:
        if item.remove is not None:
            is_gone = item.remove()
            if not is_gone and item.kind == VERSION:
                raise RegistrationError(f"{item.name} got an alias meanwhile", "run the same command again")
            yield item, is_gone


def _versions(tracking: Tracking, model: RegisteredModel, rules: Rules) -> Iterator[tuple[Version, Item]]:
    """Yield each version: without alias it may go, unless it is new or not of rnnpipe's making."""
    nameless = [
        version.number for version in model.versions
        if FINGERPRINT_TAG in version.tags and not model.aliases_of(version)
    ]  # fmt: skip
    newest = sorted(nameless, reverse=True)[: rules.keep]
    for version in model.versions:
        item = Item(VERSION, version.uri)
        if aliases := model.aliases_of(version):
            yield version, item.stays(", ".join(aliases))
        elif version.number not in nameless:
            yield version, item.stays("rnnpipe didn't register it")
        elif version.number in newest:
            yield version, item.stays(f"one of the newest {rules.keep} without alias")
        elif not rules.versions:
            yield version, item.stays("old and without alias: only --versions removes it")
        else:
            yield version, item.goes("old and without alias", _version_remover(tracking, version))


def _stored_models(tracking: Tracking, kept: Sequence[Version], rules: Rules) -> Iterator[Item]:
    """Yield each stored model of rnnpipe's: without a version that stays it may go, unless it awaits its own."""
    for model in _all_stored(tracking):
        item = Item("stored model", f"{model.model_id} {model.name}", _bytes_at(model.artifact_location))
        was_registered = MODEL_VERSIONS_TAG in model.tags
        is_half_removed = model.status == mlflow.entities.LoggedModelStatus.FAILED
        is_recent = rules.is_recent(model.last_updated_timestamp / MS_PER_S)
        if any(_needs(version, model) for version in kept):
            yield item.stays(NEEDED)
        elif is_recent and not was_registered and not is_half_removed:
            yield item.stays(f"of no version yet, and younger than {rules.days} days")
        else:
            yield item.goes("no version needs it", _model_remover(tracking, model))


def _version_remover(tracking: Tracking, version: Version) -> Callable[[], bool]:
    def remove() -> bool:
        with mlflow_errors(f"remove {version.uri}"), tracking.lock():
            aliases = tracking.client.get_registered_model(version.name).aliases
            if str(version.number) in map(str, aliases.values()):
                return False
            with _gone_is_fine():
                tracking.client.delete_model_version(version.name, str(version.number))
        return True

    return remove


def _model_remover(tracking: Tracking, model: "mlflow.entities.LoggedModel") -> Callable[[], bool]:
    """Return what removes a stored model: not READY first, so that a run that stores it again fills it again."""

    def remove() -> bool:
        client, identifier = tracking.client, model.model_id
        with mlflow_errors(f"remove {identifier}"), tracking.lock():
            if any(_needs(version, model) for each in read_models(tracking) for version in each.versions):
                return False
            with _gone_is_fine():
                client.finalize_logged_model(identifier, mlflow.entities.LoggedModelStatus.FAILED)
                delete_artifacts(tracking, model.artifact_location)
                client.delete_logged_model(identifier)
        return True

    return remove


def _all_stored(tracking: Tracking) -> "Iterator[mlflow.entities.LoggedModel]":
    """Yield the stored models that rnnpipe made, in every experiment; each has a folder of its own."""
    client = tracking.client
    with mlflow_errors("look for stored models"):
        experiments = [each.experiment_id for each in every(client.search_experiments)]

        def search(page_token: str | None) -> Any:
            return client.search_logged_models(experiments, page_token=page_token)

        for model in every(search):
            if MODEL_DIGEST_TAG in model.tags and model.model_id in model.artifact_location:
                yield model


def _needs(version: Version, model: "mlflow.entities.LoggedModel") -> bool:
    """Say whether a version needs a stored model: it is its own, or of its run."""
    is_its_own = any(model.model_id in place for place in (version.source, version.model_uri))
    return is_its_own or (bool(version.run_id) and version.run_id == model.source_run_id)


@contextlib.contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Let pass that MLflow doesn't have what is to be removed: somebody else was quicker."""
    try:
        yield
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _bytes_at(location: str) -> int:
    """Return the bytes of artifacts that are kept on this machine, of others 0."""
    return usage_of(Path(unquote(urlsplit(location).path))).size_bytes if location.startswith("file:") else 0
