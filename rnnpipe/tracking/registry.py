"""Registered models: versions, and the aliases that say which one counts.

`champion` is the one in use, `previous` the one before it, `challenger` one that waits. MLflow shows aliases
reliably only at the registered model itself, so they are read there and nowhere else.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rnnpipe.errors import ConfigError, TrackingError
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import scratch_folder
from rnnpipe.tracking.client import Tracking, download, mlflow, mlflow_errors, retried
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG, model_digest, registered_digest

Alias = Literal["champion", "challenger", "previous"]

FINGERPRINT_TAG = "rnnpipe.fingerprint"
MODEL_URI_TAG = "rnnpipe.model_uri"
MODEL_VERSIONS_TAG = "mlflow.modelVersions"
REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:@(?P<alias>[\w-]+)|/(?P<number>[1-9]\d*))?")


@dataclass(frozen=True)
class Candidate:
    """What becomes a version: a stored model (models:/m-...), its run, the run's fingerprint, and its record."""

    model_uri: str
    run_id: str
    fingerprint: str
    tags: Mapping[str, str]
    description: str


@dataclass(frozen=True)
class Version:
    """A version of a registered model; `source` is where its files are, the time is in ms since 1970."""

    name: str
    number: int
    run_id: str
    model_uri: str
    tags: Mapping[str, str]
    description: str
    source: str = ""
    created_at_ms: int = 0

    @property
    def uri(self) -> str:
        """The version as MLflow's own tools take it: models:/NAME/NUMBER."""
        return f"models:/{self.name}/{self.number}"


def register(tracking: Tracking, model_name: str, candidate: Candidate) -> Version:
    """Return the version of a candidate: registered now, or earlier under the same fingerprint."""
    client = tracking.client
    with mlflow_errors(f"register a version of {model_name}"), tracking.lock():
        model = client.get_logged_model(candidate.model_uri.removeprefix("models:/"))
        version = _find_version(tracking, model_name, candidate.fingerprint)
        if version is None:
            if _find_model(tracking, model_name) is None:
                client.create_registered_model(model_name)
            created = client.create_model_version(
                model_name,
                model.artifact_location,  # models:/m-... would be looked up in the process' global MLflow
                candidate.run_id,
                {
                    **candidate.tags,
                    FINGERPRINT_TAG: candidate.fingerprint,
                    MODEL_URI_TAG: model.model_uri,
                    MODEL_DIGEST_TAG: model.tags[MODEL_DIGEST_TAG],
                },
                description=candidate.description,
                await_creation_for=0,  # it is READY at once outside Databricks
                model_id=model.model_id,
            )
            version = _find_version(tracking, model_name, candidate.fingerprint) or created
        _link_to_model(tracking, model, version)
    return version_of(version)


def find(tracking: Tracking, model_name: str, fingerprint: str) -> Version | None:
    """Return the version with this fingerprint, if it is registered."""
    with mlflow_errors(f"search the versions of {model_name}"):
        found = _find_version(tracking, model_name, fingerprint)
    return version_of(found) if found else None


def champion(tracking: Tracking, model_name: str) -> Version | None:
    """Return the version in use, if there is one."""
    return by_alias(tracking, model_name, "champion")


@retried
def by_alias(tracking: Tracking, model_name: str, alias: Alias) -> Version | None:
    """Return the version an alias names, if the model is there and has it."""
    with mlflow_errors(f"read the aliases of {model_name}"):
        model = _find_model(tracking, model_name)
        number = model.aliases.get(alias) if model else None
        return version_of(tracking.client.get_model_version(model_name, number)) if number else None


def set_challenger(tracking: Tracking, version: Version) -> None:
    """Let `challenger` name this version."""
    with mlflow_errors(f"make {version.uri} the challenger"):
        tracking.client.set_registered_model_alias(version.name, "challenger", str(version.number))


def promote(tracking: Tracking, version: Version, expected: int | None) -> bool:
    """Make a version the champion, and the champion so far `previous`: version `expected`, or none.

    If another one has become champion meanwhile, nothing moves and the answer is False. A version that is the
    champion already stays so, and `previous` with it. Killed anywhere, `champion` is whole. TrackingError if the
    version's files aren't those that were registered.
    """
    with scratch_folder() as folder:
        download_model(tracking, version, folder)
    client, number = tracking.client, str(version.number)
    with mlflow_errors(f"make {version.uri} the champion"), tracking.lock():
        aliases = {alias: str(its) for alias, its in client.get_registered_model(version.name).aliases.items()}
        old = aliases.get("champion")
        if old != number:
            if old != (None if expected is None else str(expected)):
                return False
            if old is not None:
                client.set_registered_model_alias(version.name, "previous", old)
            client.set_registered_model_alias(version.name, "champion", number)
        if aliases.get("challenger") == number:
            client.delete_registered_model_alias(version.name, "challenger")
    return True


def resolve_model_uri(tracking: Tracking, text: str) -> Version:
    """Return the version that models:/NAME@ALIAS, models:/NAME/NUMBER or NAME (its champion) means.

    ConfigError for a text of another form, TrackingError if there is no such version.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text} names no model", "write models:/NAME@champion, models:/NAME/3 or NAME")
    name, alias, number = match["name"], match["alias"] or "champion", match["number"]
    with mlflow_errors(f"find {text}"):
        model = _find_model(tracking, name)
        number = number or (model.aliases.get(alias) if model else None)
        versions = tracking.client.search_model_versions(f"name = '{name}'") if model else []
    for version in versions:
        if str(version.version) == str(number):
            return version_of(version)
    there = ", ".join(sorted((str(version.version) for version in versions), key=int))
    aliases = ", ".join(f"@{alias}" for alias in sorted(model.aliases)) if model else ""
    raise TrackingError(
        f"there is no {text} in MLflow at this address",
        f"{name} has the versions {there} and the aliases {aliases or '(none)'}"
        if model
        else "train and register one with `rnnpipe run`, or see the tracking URI",
    )


def download_model(tracking: Tracking, version: Version, destination: Path) -> Path:
    """Fetch weights.safetensors and model.json of a version into a folder and return the folder.

    TrackingError if they aren't the files that were registered.
    """
    expected = registered_digest(version.uri, version.tags)

    def check(folder: Path) -> None:
        if model_digest(folder) != expected:
            raise TrackingError(
                f"the files of {version.uri} are not those that were registered",
                "the artifact store is damaged: restore it, or train and register the model again",
            )

    download_files(tracking, version, MODEL_FILES, destination, check)
    return destination


def download_files(
    tracking: Tracking, version: Version, names: Sequence[str], destination: Path, check: Callable[[Path], None]
) -> None:
    """Fetch files that a version carries into a folder, each only once `check(scratch folder)` has passed them.

    TrackingError where one isn't there, and whatever `check` raises.
    """
    destination.mkdir(parents=True, exist_ok=True)
    with mlflow_errors(f"fetch the files of {version.uri}"), scratch_folder(destination) as folder:
        source = tracking.client.get_model_version_download_uri(version.name, str(version.number))
        for name in names:
            download(tracking, f"{source}/extra_files/{name}", folder)
        check(folder)
        for name in names:
            (folder / name).replace(destination / name)


def _find_model(tracking: Tracking, name: str) -> "mlflow.entities.model_registry.RegisteredModel | None":
    try:
        return tracking.client.get_registered_model(name)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _find_version(
    tracking: Tracking, model_name: str, fingerprint: str
) -> "mlflow.entities.model_registry.ModelVersion | None":
    """Return the first version with this fingerprint; later ones, of creations carried out late, are deleted."""
    query = f"name = '{model_name}' and tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    found = sorted(tracking.client.search_model_versions(query), key=lambda each: int(each.version))
    for late in found[1:]:
        tracking.client.delete_model_version(model_name, str(late.version))
    return found[0] if found else None


def _link_to_model(
    tracking: Tracking,
    model: "mlflow.entities.LoggedModel",
    version: "mlflow.entities.model_registry.ModelVersion",
) -> None:
    """Let the page of the stored model name its version, as MLflow's own registration does."""
    versions = json.loads(model.tags.get(MODEL_VERSIONS_TAG, "[]"))
    entry = {"name": version.name, "version": version.version}
    if entry not in versions:
        text = json.dumps([*versions, entry])
        tracking.client.set_logged_model_tags(model.model_id, {MODEL_VERSIONS_TAG: text})


def version_of(version: "mlflow.entities.model_registry.ModelVersion") -> Version:
    """Return what stands on one of MLflow's versions."""
    return Version(
        name=version.name,
        number=int(version.version),
        run_id=version.run_id or "",
        model_uri=version.tags.get(MODEL_URI_TAG, ""),
        tags=dict(version.tags),
        description=version.description or "",
        source=version.source or "",
        created_at_ms=version.creation_timestamp or 0,
    )
