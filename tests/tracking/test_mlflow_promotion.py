import json
import shutil
from pathlib import Path

import pytest
from tracking_helpers import START_MS, MakeModel
from tracking_workers import race_for_champion, worker_context

from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.promotion import Decision, Verdict
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.promotion import apply_verdict, record_verdict
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run

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


def verdict(decision: Decision, version: Version, champion: Version | None) -> Verdict:
    return Verdict(
        decision=decision, reason=f"so it is {decision.lower()}", total=10, candidate_version=version.uri,
        candidate_correct=9, candidate_accuracy=0.9, champion_version=champion.uri if champion else None,
    )  # fmt: skip


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    return {alias: int(its) for alias, its in tracking.client.get_registered_model(name).aliases.items()}


def test_the_verdict_stays_on_the_version(tracking: Tracking, stored: tuple[str, str]) -> None:
    version = register(tracking, stored, "judged", "f1")
    record_verdict(tracking, version, verdict(Decision.HOLD, version, None))
    record_verdict(tracking, version, verdict(Decision.PROMOTE, version, None))
    judged = registry.resolve_model_uri(tracking, version.uri)
    assert judged.description == "A net.\n\n**Verdict:** PROMOTE: so it is promote"
    assert judged.tags["rnnpipe.decision"] == "PROMOTE"
    assert judged.tags["rnnpipe.reason"] == "so it is promote"
    assert json.loads(judged.tags["rnnpipe.decision_details"])["candidate_correct"] == 9


def test_a_verdict_moves_the_aliases_only_if_the_champion_is_the_one_it_judged(
    tracking: Tracking, stored: tuple[str, str]
) -> None:
    first, second, third = (register(tracking, stored, "compared", f"f{number}") for number in range(3))
    assert apply_verdict(tracking, first, verdict(Decision.PROMOTE, first, None))
    assert apply_verdict(tracking, third, verdict(Decision.HOLD, third, first))
    assert aliases(tracking, "compared") == {"champion": 1, "challenger": 3}
    assert apply_verdict(tracking, second, verdict(Decision.PROMOTE, second, first))
    assert aliases(tracking, "compared") == {"champion": 2, "previous": 1, "challenger": 3}
    for outdated in (first, None):
        assert not apply_verdict(tracking, third, verdict(Decision.PROMOTE, third, outdated))
    assert aliases(tracking, "compared") == {"champion": 2, "previous": 1, "challenger": 3}
    for _ in range(2):
        assert apply_verdict(tracking, third, verdict(Decision.PROMOTE, third, second))
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
