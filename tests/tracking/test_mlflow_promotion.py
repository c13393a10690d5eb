import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tracking_helpers import START_MS, MakeModel, verdict_on
from tracking_workers import race_for_champion, worker_context

from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.files import scratch_folder
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.promotion import apply_verdict
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run
from rnnpipe.tracking.views import artifact_path

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

RACERS, ROUNDS = 8, 3


@pytest.fixture(scope="module")
def stored(tracking: Tracking, make_model: MakeModel) -> tuple[str, str]:
    """Run id and URI of a stored model."""
    run_id = start_run(tracking, RunSpec("promoted", "basic", {"seed": 1}, {}, START_MS))
    return run_id, log_deployed_model(tracking, run_id, make_model("basic", 1), step=1, tags={})


def register(tracking: Tracking, stored: tuple[str, str], name: str, fingerprint: str) -> Version:
    run_id, uri = stored
    return registry.register(tracking, name, Candidate(uri, run_id, fingerprint, {}, "A net."))


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    return {alias: int(its) for alias, its in tracking.client.get_registered_model(name).aliases.items()}


def apply(tracking: Tracking, version: Version, decision: Decision, champion: Version | None) -> bool:
    return apply_verdict(tracking, version, verdict_on(version, decision, champion), run_id=version.run_id)


def held(tracking: Tracking, version: Version) -> dict[str, Any]:
    """Return what MLflow holds of the verdict on a version."""
    judged = registry.resolve_model_uri(tracking, version.uri)
    files = tracking.client.list_artifacts(version.run_id, f"verdict/{version.name}")
    with scratch_folder() as folder:
        contents = {
            file.path: Path(
                tracking.client.download_artifacts(version.run_id, file.path, str(folder))
            ).read_bytes()
            for file in files
        }
    return {"tags": judged.tags, "description": judged.description, "files": contents}


def test_the_verdict_stays_on_the_version_and_its_run(tracking: Tracking, stored: tuple[str, str]) -> None:
    version = register(tracking, stored, "judged", "f1")
    apply(tracking, version, Decision.HOLD, None)
    assert "HOLD: so it is hold" in held(tracking, version)["description"]
    apply(tracking, version, Decision.PROMOTE, None)
    found = held(tracking, version)
    path = artifact_path(tracking.experiment_id, version.run_id, "verdict/judged/verdict.json")
    assert found["description"] == f"A net.\n\n**Verdict:** PROMOTE: so it is promote\n\n[verdict.json]({path})"
    assert found["tags"]["rnnpipe.decision"] == "PROMOTE"
    assert found["tags"]["rnnpipe.reason"] == "so it is promote"
    details = json.loads(found["tags"]["rnnpipe.decision_details"])
    assert details["candidate_correct"] == 9 and details["rule"]["significance"] == 0.05
    ((name, content),) = found["files"].items()
    assert name == "verdict/judged/verdict.json"
    stored_verdict = Verdict.model_validate_json(content)
    assert stored_verdict == verdict_on(version, Decision.PROMOTE)
    assert stored_verdict.model_dump(mode="json", exclude={"decision", "reason"}) == details


def test_a_verdict_delivered_again_stands_there_once(
    tracking: Tracking, stored: tuple[str, str], tmp_path: Path
) -> None:
    champion, version = (register(tracking, stored, "repeated", f"f{number}") for number in range(2))
    apply(tracking, champion, Decision.PROMOTE, None)
    pictures = [tmp_path / "fixed.png", tmp_path / "broken.png"]
    for picture in pictures:
        picture.write_bytes(picture.name.encode())
    verdict = verdict_on(version, Decision.HOLD, champion)

    def deliver() -> dict[str, Any]:
        assert apply_verdict(tracking, version, verdict, run_id=version.run_id, pictures=pictures)
        return held(tracking, version)

    once = deliver()
    assert set(once["files"]) == {
        f"verdict/repeated/{name}" for name in ("verdict.json", "fixed.png", "broken.png")
    }
    assert once["description"].count("**Verdict:**") == 1 and verdict.evidence in once["description"]
    assert all(
        f"artifacts/verdict/repeated/{picture.name}?workflowType=machine_learning)" in once["description"]
        for picture in pictures
    )
    details = json.loads(once["tags"]["rnnpipe.decision_details"])
    assert {"p_value", "interval", "fixed", "broken", "test_looks"} <= {
        name for name, value in details.items() if value is not None
    }
    assert deliver() == once
    assert aliases(tracking, "repeated") == {"champion": 1, "challenger": 2}


def test_the_model_card_is_written_once_before_the_verdict(tracking: Tracking, stored: tuple[str, str]) -> None:
    version = register(tracking, stored, "carded", "f1")
    for card in ("### Model card\n\nOne.", "### Model card\n\nAnother."):
        apply_verdict(tracking, version, verdict_on(version, Decision.PROMOTE), run_id=version.run_id, card=card)
    text = held(tracking, version)["description"]
    assert text.startswith("A net.\n\n### Model card\n\nOne.\n\n**Verdict:** PROMOTE") and "Another" not in text


def test_a_verdict_moves_the_aliases_only_if_the_champion_is_the_one_it_judged(
    tracking: Tracking, stored: tuple[str, str]
) -> None:
    first, second, third = (register(tracking, stored, "compared", f"f{number}") for number in range(3))
    assert apply(tracking, first, Decision.PROMOTE, None)
    assert apply(tracking, third, Decision.HOLD, first)
    assert aliases(tracking, "compared") == {"champion": 1, "challenger": 3}
    assert apply(tracking, second, Decision.PROMOTE, first)
    assert aliases(tracking, "compared") == {"champion": 2, "previous": 1, "challenger": 3}
    for outdated in (first, None):
        assert not apply(tracking, third, Decision.PROMOTE, outdated)
    assert aliases(tracking, "compared") == {"champion": 2, "previous": 1, "challenger": 3}
    for _ in range(2):
        assert apply(tracking, third, Decision.PROMOTE, second)
        assert aliases(tracking, "compared") == {"champion": 3, "previous": 2}


def test_a_version_with_damaged_files_is_not_promoted(
    tracking: Tracking, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run(tracking, RunSpec("damaged", "basic", {}, {}, START_MS))
    uri = log_deployed_model(tracking, run_id, make_model("basic", 3), step=1, tags={})
    version = register(tracking, (run_id, uri), "torn", "f1")
    kept = tracking.lock_path.parent / "artifacts" / "digits-rows" / "models" / uri.split("/")[-1]
    shutil.copy(make_model("basic", 4) / "weights.safetensors", kept / "artifacts" / "extra_files")
    with pytest.raises(TrackingError, match="not those that were registered"):
        registry.promote(tracking, version, None)
    assert aliases(tracking, "torn") == {}


def test_of_eight_racing_promoters_one_wins_each_time(
    tracking: Tracking, stored: tuple[str, str], tmp_path: Path
) -> None:
    versions = [register(tracking, stored, "raced", f"f{number}") for number in range(RACERS)]
    context = worker_context()
    start, workspace = context.Barrier(RACERS), tracking.lock_path.parent
    racers = [
        context.Process(
            target=race_for_champion,
            args=(workspace, version.uri, tmp_path),
            kwargs={"rounds": ROUNDS, "start": start},
        )
        for version in versions
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    rounds = [tuple(map(int, path.name.split("-"))) for path in sorted(tmp_path.iterdir())]
    assert [number for number, _, _ in rounds] == list(range(ROUNDS))
    seen, winners = [before for _, before, _ in rounds], [after for _, _, after in rounds]
    assert seen == [0, *winners[:-1]]
    champion = registry.champion(tracking, "raced")
    assert champion is not None and champion.number == winners[-1]
    registry.download_model(tracking, champion, tmp_path / "champion")
