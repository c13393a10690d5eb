"""Pages of runs in MLflow: stored with their training's run, replaced only by news, found again."""

from pathlib import Path

import pytest
from registry_helpers import DAY_S, NAME, Registry, make_old

from rnnpipe.errors import TrackingError
from rnnpipe.reporting.facts import FACTS_FILE, run_folder
from rnnpipe.reporting.run_page import REPORT_NAME
from rnnpipe.tracking.leftovers import prunable_files
from rnnpipe.tracking.prunable import Rules
from rnnpipe.tracking.reports import (
    fetch_page,
    log_page,
    page_path,
    runs_of_pipeline,
    version_with,
)
from rnnpipe.tracking.runs import PIPELINE_RUN_TAG, set_tags
from rnnpipe.tracking.sides import find_page, find_side
from rnnpipe.tracking.views import artifact_path

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def test_a_page_is_replaced_by_news_only(place: Registry) -> None:
    run_id = place.run("training")
    assert page_path(place.tracking, "training") is None
    for text, replace, held in (("one", False, "one"), ("two", False, "one"), ("three", True, "three")):
        log_page(place.tracking, "training", lambda text=text: text, replace=replace)  # type: ignore[misc]
        assert fetch_page(place.tracking, run_id) == held.encode()
    path = page_path(place.tracking, "training")
    assert path == artifact_path(place.tracking.experiment_id, run_id, REPORT_NAME)


def test_a_page_of_no_run_is_not_made(place: Registry) -> None:
    log_page(place.tracking, "nothing", lambda: pytest.fail("it is made"), replace=True)


def test_a_run_is_found_by_its_pipeline_run_in_every_experiment(place: Registry, tmp_path: Path) -> None:
    run_ids = [place.run(key) for key in ("a", "b", "c")]
    for run_id in run_ids[:2]:
        set_tags(place.tracking, run_id, {PIPELINE_RUN_TAG: "0123abcd"})
    assert {run.info.run_id for run in runs_of_pipeline(place.tracking, "0123abcd")} == set(run_ids[:2])
    with pytest.raises(TrackingError, match="neither this workspace nor MLflow knows what the run 0123abcd was"):
        find_page(place.tracking, tmp_path, "0123abcd")
    log_page(place.tracking, "b", lambda: "page", replace=True)
    assert find_page(place.tracking, tmp_path, "0123abcd") == ("0123abcd", b"page")
    assert find_page(place.tracking, tmp_path, run_ids[1]) == ("0123abcd", b"page")
    with pytest.raises(TrackingError, match="MLflow has no page of the run"):
        find_page(place.tracking, tmp_path, run_ids[2])


def test_a_side_that_nobody_knows_is_told(place: Registry, tmp_path: Path) -> None:
    version = place.version("first")
    assert version_with(place.tracking, f"run_id = '{version.run_id}'") == version
    with pytest.raises(TrackingError, match="carries no record"):
        find_side(place.tracking, tmp_path, version.run_id)
    with pytest.raises(TrackingError, match="neither this workspace nor MLflow"):
        find_side(place.tracking, tmp_path, place.run("alone"))
    with pytest.raises(TrackingError, match=f"there is no models:/{NAME}/9"):
        find_side(place.tracking, tmp_path, f"models:/{NAME}/9")


def test_what_is_kept_of_old_runs_may_go(tmp_path: Path) -> None:
    for run in ("old", "new"):
        path = run_folder(tmp_path, run) / FACTS_FILE
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    make_old(run_folder(tmp_path, "old"))
    now_s = path.stat().st_mtime + DAY_S
    found = {
        item.name: item
        for item in prunable_files(tmp_path, [], [], Rules(keep=3, versions=False, days=7, now_s=now_s))
        if item.kind == "kept run"
    }
    assert found["new"].remove is None and found["new"].reason == "of the last 7 days"
    assert found["old"].remove is not None and found["old"].remove()
    assert not run_folder(tmp_path, "old").exists() and run_folder(tmp_path, "new").exists()
