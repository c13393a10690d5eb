"""What a verdict rests on, and how its images look: kept on the version, and read from there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracking_helpers import CLASSES, START_MS

from rnnpipe.data.drift import DriftReport
from rnnpipe.data.profile import Profile, profile_of
from rnnpipe.data.stages import PROFILE
from rnnpipe.errors import TrackingError
from rnnpipe.files import write_json
from rnnpipe.tracking import judged
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.judged import fetch_profile, judged_versions, keep_basis
from rnnpipe.tracking.promotion import DECISION_TAG
from rnnpipe.tracking.registry import Version, resolve_model_uri
from rnnpipe.tracking.runs import RunSpec, start_run

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def add_version(tracking: Tracking, name: str, **tags: str) -> Version:
    """Register a version that has a run, but no model."""
    run_id = start_run(tracking, RunSpec(f"run of {name}", "basic", {}, {}, START_MS))
    if not tracking.client.search_registered_models(f"name = '{name}'"):
        tracking.client.create_registered_model(name)
    created = tracking.client.create_model_version(name, "nowhere", run_id, tags, await_creation_for=0)
    return resolve_model_uri(tracking, f"models:/{name}/{created.version}")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset's folder with nothing but its profile."""
    pixels_NHW = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    found = profile_of(pixels_NHW, np.arange(60) % 3, CLASSES)
    write_json(tmp_path / PROFILE, found.model_dump(mode="json"))
    return tmp_path


def anew(version: Version, tracking: Tracking) -> Version:
    return resolve_model_uri(tracking, version.uri)


def test_the_latest_verdict_comes_first_and_the_rest_is_left_out(
    tracking: Tracking, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [add_version(tracking, "judged", **{DECISION_TAG: each}) for each in ("PROMOTE", "HOLD", "REJECT")]
    add_version(tracking, "judged", **{judged.JUDGED_TAG: "no JSON"})
    add_version(tracking, "judged", **{judged.JUDGED_TAG: "[" * 5000})

    def keep(version: Version, basis: dict[str, Any], hour: int) -> None:
        monkeypatch.setattr(judged.time, "gmtime", lambda: (2026, 10, 30, hour, 0, 0, 0, 0, 0))
        keep_basis(tracking, version, basis, dataset_folder=dataset, drift=None, is_new=True)

    keep(versions[1], {"seeds": [1]}, 3)
    keep(versions[0], {"seeds": [2], "code": {"data": "é"}}, 2)
    keep(versions[1], {"seeds": [3]}, 4)
    monkeypatch.setattr(judged.time, "gmtime", lambda: pytest.fail("the date stays"))
    again = {"dataset_folder": dataset, "drift": None, "is_new": False}
    keep_basis(tracking, anew(versions[1], tracking), {"seeds": [3]}, **again)
    assert [(each.uri, each.decision, each.at, each.basis) for each in judged_versions(tracking, "judged")] == [
        (versions[1].uri, "HOLD", "2026-10-30 04:00:00 UTC", {"seeds": [3]}),
        (versions[0].uri, "PROMOTE", "2026-10-30 02:00:00 UTC", {"seeds": [2], "code": {"data": "é"}}),
    ]
    assert judged_versions(tracking, "never registered") == []


def test_how_the_images_look_is_kept_with_the_run(tracking: Tracking, dataset: Path) -> None:
    version, found = (
        add_version(tracking, "profiled"),
        Profile.model_validate_json((dataset / PROFILE).read_bytes()),
    )
    assert fetch_profile(tracking, version) is None
    drift = DriftReport.of(found, found, "models:/profiled/0")
    keep_basis(tracking, version, {}, dataset_folder=dataset, drift=drift, is_new=True)
    version = anew(version, tracking)
    assert fetch_profile(tracking, version) == found
    assert version.tags[judged.DRIFT_TAG] == drift.sentence
    kept = tracking.client.download_artifacts(version.run_id, "dataset/drift.json", str(dataset))
    assert DriftReport.model_validate_json(Path(kept).read_bytes()) == drift


def test_without_a_profile_the_basis_is_kept_all_the_same(tracking: Tracking, tmp_path: Path) -> None:
    version = add_version(tracking, "profileless")
    keep_basis(tracking, version, {"seeds": [1]}, dataset_folder=tmp_path, drift=None, is_new=True)
    assert fetch_profile(tracking, anew(version, tracking)) is None
    assert [each.basis for each in judged_versions(tracking, "profileless")] == [{"seeds": [1]}]


def test_a_profile_that_was_altered_is_refused(tracking: Tracking, dataset: Path) -> None:
    version = add_version(tracking, "altered")
    keep_basis(tracking, version, {}, dataset_folder=dataset, drift=None, is_new=True)
    (dataset / PROFILE).write_text((dataset / PROFILE).read_text().replace("20", "21"), encoding="utf-8")
    tracking.client.log_artifact(version.run_id, str(dataset / PROFILE), "dataset")
    with pytest.raises(TrackingError, match="not the one that was stored"):
        fetch_profile.__wrapped__(tracking, anew(version, tracking))  # type: ignore[attr-defined]  # at once
