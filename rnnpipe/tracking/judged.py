"""What a verdict rests on, kept on its version: by it a retraining knows whether anything has changed since.

tag rnnpipe.judged           when a version was judged, and on what: digests of images and code, settings
tag rnnpipe.profile_digest   SHA-256 of dataset/profile.json, an artifact of the version's run: how its images look
tag rnnpipe.drift            how they differ from those of the champion it was compared with; dataset/drift.json
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnpipe.data.drift import DriftReport
from rnnpipe.data.profile import Profile
from rnnpipe.data.stages import PROFILE
from rnnpipe.errors import TrackingError
from rnnpipe.files import canonical_json, scratch_folder, sha256_file, write_json
from rnnpipe.references import Reference
from rnnpipe.tracking.client import Tracking, download, mlflow_errors, retried
from rnnpipe.tracking.promotion import DECISION_TAG
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.runs import log_artifact_files

JUDGED_TAG = "rnnpipe.judged"
PROFILE_TAG = "rnnpipe.profile_digest"
DRIFT_TAG = "rnnpipe.drift"
FAILED = "failed"  # in a basis: the trainings that came to no model
FOLDER = "dataset"  # MLflow draws no pictures of a run that has other files in `images`
FORMER_FOLDER = "images"  # of versions from before
PROFILE_NAME = Path(PROFILE).name
DRIFT_NAME = "drift.json"

Basis = Mapping[str, Any]


class _Judged(Reference):
    """The content of a version's tag."""

    at: str
    basis: dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A version, the decision on it, when (UTC), and on what."""

    uri: str
    decision: str
    at: str
    basis: Basis


@retried
def judged_versions(tracking: Tracking, model_name: str) -> list[Judged]:
    """Return the versions of a model that say what they were judged on, the latest verdict first."""
    with mlflow_errors(f"search the versions of {model_name}"):
        found = tracking.client.search_model_versions(f"name = '{model_name}'")
    judged = [
        Judged(f"models:/{model_name}/{version.version}", version.tags.get(DECISION_TAG, ""), said.at, said.basis)
        for version in found
        if (said := _read(version.tags.get(JUDGED_TAG, ""))) is not None
    ]
    return sorted(judged, key=lambda each: each.at, reverse=True)


@retried
def keep_basis(
    tracking: Tracking,
    version: Version,
    basis: Basis,
    *,
    dataset_folder: Path,
    drift: DriftReport | None,
    is_new: bool,
) -> None:
    """Write onto a version what its verdict rests on, and into its run how its images look and have drifted.

    A verdict that isn't new and rests on what is written there already stays as it is, with its date.
    """
    profile, said, tags = dataset_folder / PROFILE, _read(version.tags.get(JUDGED_TAG, "")), {}
    if said is not None and said.basis == basis and not is_new:
        return
    if profile.exists():
        log_artifact_files(tracking, version.run_id, [profile], FOLDER)
        tags[PROFILE_TAG] = sha256_file(profile)
    if drift is not None and drift.champion != version.uri:
        with scratch_folder() as folder:
            write_json(folder / DRIFT_NAME, drift.model_dump(mode="json"))
            log_artifact_files(tracking, version.run_id, [folder / DRIFT_NAME], FOLDER)
        tags[DRIFT_TAG] = drift.sentence
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    tags[JUDGED_TAG] = canonical_json({"at": now, "basis": basis})  # the last one: whoever finds it finds the rest
    with mlflow_errors(f"write what {version.uri} was judged on"):
        for name, value in tags.items():
            tracking.client.set_model_version_tag(version.name, str(version.number), name, value)


@retried
def fetch_profile(tracking: Tracking, version: Version) -> Profile | None:
    """Return the profile of the images that a version was trained on; None if it has none.

    TrackingError if it isn't the one that was stored.
    """
    digest = version.tags.get(PROFILE_TAG)
    if digest is None:
        return None
    with mlflow_errors(f"fetch the profile of {version.uri}"), scratch_folder() as folder:
        there = FOLDER if tracking.client.list_artifacts(version.run_id, FOLDER) else FORMER_FOLDER
        path = download(tracking, f"runs:/{version.run_id}/{there}/{PROFILE_NAME}", folder)
        if sha256_file(path) == digest:
            return Profile.model_validate_json(path.read_bytes())
    raise TrackingError(
        f"the profile of {version.uri} is not the one that was stored",
        "the artifact store is damaged: restore it, or train and register the model again",
    )


def _read(text: str) -> _Judged | None:
    try:
        return _Judged.model_validate_json(text)
    except ValidationError:
        return None
