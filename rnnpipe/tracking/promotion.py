"""From the best model of a run to a version with a verdict, and to a champion."""

from collections.abc import Mapping
from pathlib import Path

from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.store import Entry
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.export import (
    MODEL_DIGEST_TAG,
    MODEL_FILES,
    check_round_trip,
    log_deployed_model,
    model_digest,
)
from rnnpipe.tracking.registry import Candidate, Version


def register_trained(
    tracking: Tracking,
    trained: Entry,
    *,
    model_name: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> Version:
    """Register a trained model as a version; a model that is registered already is only found.

    Before that it is loaded back in a clean process, without rnnpipe and with pickle forbidden, and has to give
    the live model's probabilities: RegistrationError otherwise.
    """
    found = registry.find(tracking, model_name, fingerprint=trained.ref.digest)
    if found is not None:
        return found
    uri = log_deployed_model(tracking, run_id, trained.path, step=trained.ref.facts["best_epoch"], tags=tags)
    difference = check_round_trip(tracking.uri, uri, trained.path)
    tags = {**tags, "rnnpipe.round_trip_difference": f"{difference:.3g}"}
    return registry.register(tracking, model_name, Candidate(uri, run_id, trained.ref.digest, tags, description))


def apply_verdict(tracking: Tracking, version: Version, verdict: Verdict) -> None:
    """Write a verdict on its version, and move the aliases as it says: who is held is the challenger."""
    details = verdict.model_dump(mode="json", exclude={"decision", "reason"})
    registry.record_verdict(tracking, version, verdict.decision, verdict.reason, details)
    if verdict.decision is Decision.PROMOTE:
        registry.promote(tracking, version)
    elif verdict.decision is Decision.HOLD:
        registry.set_challenger(tracking, version)


def fetch_model(tracking: Tracking, version: Version, workspace: Path) -> Path:
    """Return the folder of a version's weights and spec in the workspace, fetched if it isn't there."""
    digest = version.tags[MODEL_DIGEST_TAG]
    folder = workspace / "models" / digest
    if all((folder / name).exists() for name in MODEL_FILES) and model_digest(folder) == digest:
        return folder
    return registry.download_model(tracking, version, folder)
