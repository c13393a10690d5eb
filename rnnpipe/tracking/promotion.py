"""From the best model of a run to a version with a verdict, and to a champion."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import scratch_folder, write_json
from rnnpipe.reporting.card import CARD_HEADING
from rnnpipe.store import Entry
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import Tracking, download, mlflow, mlflow_errors, retried
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG, RECORD_DIGEST_TAG, model_digest, registered_digest
from rnnpipe.tracking.record import Record, write_record
from rnnpipe.tracking.registry import MODEL_URI_TAG, Candidate, Version
from rnnpipe.tracking.runs import log_artifact_files
from rnnpipe.tracking.stranger import Stranger
from rnnpipe.tracking.views import artifact_path

DECISION_TAG = "rnnpipe.decision"
REASON_TAG = "rnnpipe.reason"
DETAILS_TAG = "rnnpipe.decision_details"
VERDICT_HEADING = "**Verdict:**"
VERDICT_FILE = "verdict.json"


@retried
def register_trained(
    tracking: Tracking,
    trained: Entry,
    *,
    evaluation: Entry,
    record: Record,
    model_name: str,
    run_id: str,
    tags: Mapping[str, str],
    description: str,
) -> Version:
    """Register a trained model as a version that carries its record; one that is registered already is only found.

    Before that it is loaded back in a clean process, without rnnpipe and with pickle forbidden, and has to give
    the live model's probabilities: RegistrationError otherwise.
    """
    found = registry.find(tracking, model_name, fingerprint=trained.ref.digest)
    if found is not None:
        return found
    from rnnpipe.tracking.export import log_deployed_model  # brings torch

    with Stranger(tracking.uri) as stranger:  # gets ready while the model is exported
        with scratch_folder() as folder:
            digest, carried = write_record(folder, record, training=trained, evaluation=evaluation)
            tags = {**tags, RECORD_DIGEST_TAG: digest}
            uri = log_deployed_model(
                tracking, run_id, trained.path, step=trained.ref.facts["best_epoch"], tags=tags, carried=carried
            )
        _remove_others(tracking, run_id, trained.path, digest)
        difference = _check(tracking, stranger, uri, trained.path)
    tags = {**tags, "rnnpipe.round_trip_difference": f"{difference:.3g}"}
    return registry.register(tracking, model_name, Candidate(uri, run_id, trained.ref.digest, tags, description))


@retried
def apply_verdict(
    tracking: Tracking,
    version: Version,
    verdict: Verdict,
    *,
    run_id: str,
    pictures: Sequence[Path] = (),
    card: str = "",
) -> bool:
    """Write a verdict on its version, and move the aliases as it says: who is held is the challenger.

    `run_id` is the run of the version's training: it gets verdict.json and the pictures. The version's description
    gets the model card (Markdown), if it has none yet.
    False if the champion isn't the one any more that the version was compared with: then it is to be judged again.
    """
    record_verdict(tracking, version, verdict, run_id=run_id, pictures=pictures, card=card)
    if verdict.decision is Decision.PROMOTE:
        _, _, number = (verdict.champion_version or "").rpartition("/")
        return registry.promote(tracking, version, int(number) if number else None)
    if verdict.decision is Decision.HOLD:
        registry.set_challenger(tracking, version)
    return True


def record_verdict(
    tracking: Tracking,
    version: Version,
    verdict: Verdict,
    *,
    run_id: str,
    pictures: Sequence[Path] = (),
    card: str = "",
) -> None:
    """Write onto a version and its run what was decided, why, and on which figures; again, it changes nothing.

    What people have written before the verdict stays.
    """
    with scratch_folder() as folder:
        write_json(folder / VERDICT_FILE, verdict.model_dump(mode="json"))
        files = [folder / VERDICT_FILE, *pictures]
        log_artifact_files(tracking, run_id, files, _folder(version))
    details = verdict.model_dump(mode="json", exclude={"decision", "reason"})
    tags = {
        DECISION_TAG: verdict.decision,
        REASON_TAG: verdict.reason,
        DETAILS_TAG: json.dumps(details, sort_keys=True, allow_nan=False),
    }
    client, number = tracking.client, str(version.number)
    with mlflow_errors(f"record the verdict on {version.uri}"):
        for key, value in tags.items():
            client.set_model_version_tag(version.name, number, key, value)
        paths = [
            artifact_path(tracking.experiment_id, run_id, f"{_folder(version)}/{file.name}") for file in files
        ]
        links = ", ".join(f"[{file.name}]({path})" for file, path in zip(files, paths, strict=True))
        told = (f"{VERDICT_HEADING} {verdict.decision}: {verdict.reason}", verdict.evidence, links)
        text = (client.get_model_version(version.name, number).description or "").partition(VERDICT_HEADING)[0]
        text = "\n\n".join(filter(None, (text.rstrip(), "" if CARD_HEADING in text else card, *told)))
        client.update_model_version(version.name, number, text)


def _folder(version: Version) -> str:
    """Return where a run keeps the verdict on its version: it may have one in several registered models."""
    return f"verdict/{version.name}"


@retried
def fetch_model(tracking: Tracking, version: Version, workspace: Path) -> Path:
    """Return the folder of a version's weights and spec in the workspace, fetched if it isn't there.

    TrackingError where they aren't the files that were registered, or the version doesn't say which were.
    """
    digest = registered_digest(version.uri, version.tags)
    folder = workspace / "models" / digest
    if all((folder / name).exists() for name in MODEL_FILES) and model_digest(folder) == digest:
        return folder
    return registry.download_model(tracking, version, folder)


def _check(tracking: Tracking, stranger: Stranger, uri: str, model_folder: Path) -> float:
    """Read a stored model back; it is fetched first, so that a lost server isn't taken for a bad model."""
    from rnnpipe.tracking.export import check_round_trip

    with scratch_folder() as folder:
        with mlflow_errors(f"fetch {uri}"):
            model = tracking.client.get_logged_model(uri.removeprefix("models:/"))
            stored = download(tracking, model.artifact_location, folder)
        return check_round_trip(stranger, str(stored), model_folder)


def _remove_others(tracking: Tracking, run_id: str, model_folder: Path, record_digest: str) -> None:
    """Delete a run's other stored models of the same weights that no version came from.

    A creation that was carried out late, without an acknowledgement, leaves one without files; a run that was
    killed before it registered its version and measured anew, one with an older record.
    """
    query = f"source_run_id = '{run_id}' AND tags.`{MODEL_DIGEST_TAG}` = '{model_digest(model_folder)}'"
    with mlflow_errors("search the stored models of a run"), tracking.lock():
        versions = tracking.client.search_model_versions(f"run_id = '{run_id}'")
        kept = {version.tags.get(MODEL_URI_TAG) for version in versions}
        for model in tracking.client.search_logged_models([tracking.experiment_id], query):
            is_whole = model.status == mlflow.entities.LoggedModelStatus.READY
            is_this = is_whole and model.tags.get(RECORD_DIGEST_TAG) == record_digest
            if not is_this and model.model_uri not in kept:
                tracking.client.delete_logged_model(model.model_id)
