"""A version promoted by hand, and the champion before brought back."""

import shutil
from pathlib import Path

import pytest
from registry_helpers import NAME, Registry
from tracking_helpers import MakeModel

from rnnpipe.errors import RegistrationError, TrackingError
from rnnpipe.evaluation.promotion import Decision
from rnnpipe.tracking import by_hand, registry
from rnnpipe.tracking.by_hand import check_version, promote_by_hand, roll_back
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.history import DECIDED_TAG
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run

START_MS = 1_700_000_000_000


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that were tested; the test itself, a process that takes seconds, is tested below."""
    found: list[str] = []
    monkeypatch.setattr(by_hand, "check_version", lambda _, version: found.append(version.uri))
    monkeypatch.setattr(registry, "download_model", lambda *_: None)
    return found


def decided(place: Registry, version: Version) -> str:
    return registry.resolve_model_uri(place.tracking, version.uri).tags.get(DECIDED_TAG, "")


def test_a_promotion_by_hand_is_tested_and_says_who_decided_and_why(place: Registry, tested: list[str]) -> None:
    first, second = place.version("first"), place.version("second")
    moved = promote_by_hand(place.tracking, first, "the first one")
    assert moved.text == f"champion: none → {first.uri}"
    assert decided(place, first).startswith("promoted by hand, 20")
    assert decided(place, first).endswith(" UTC, reason: the first one")
    moved = promote_by_hand(place.tracking, second, "")
    assert moved.text == f"champion: {first.uri} → {second.uri}; previous: {first.uri}"
    assert decided(place, second).endswith("no reason given")
    assert tested == [first.uri, second.uri] and place.aliases() == {"champion": 2, "previous": 1}
    assert promote_by_hand(place.tracking, second, "again").text == (
        f"{second.uri} is the champion already; nothing was moved"
    )
    assert decided(place, second).endswith("no reason given") and len(tested) == 2


def test_a_rejected_version_is_refused_with_its_reason(place: Registry, tested: list[str]) -> None:
    place.judge(place.version("worse"), Decision.REJECT, correct=10)
    version = registry.resolve_model_uri(place.tracking, f"{NAME}/1")
    with pytest.raises(RegistrationError, match=r"was rejected: so it is reject\n  fix: .*--anyway"):
        promote_by_hand(place.tracking, version, "I like it")
    assert not tested and not place.aliases() and not decided(place, version)
    promote_by_hand(place.tracking, version, "I like it", anyway=True)
    assert decided(place, version).startswith("promoted by hand against its verdict REJECT, 20")
    assert place.aliases() == {"champion": 1}


def test_a_version_that_does_not_stand_the_test_moves_nothing(place: Registry) -> None:
    client, aliases = place.tracking.client, ("previous", "champion", "challenger")
    versions = [place.version(alias) for alias in aliases]
    for alias, version in zip(aliases, versions, strict=True):
        client.set_registered_model_alias(NAME, alias, str(version.number))
    before = place.aliases()
    assert before == {"previous": 1, "champion": 2, "challenger": 3}
    with pytest.raises(
        RegistrationError, match=r"files of models:/digits-rows/3 are not those .*nothing was moved"
    ):
        promote_by_hand(place.tracking, versions[2], "")
    with pytest.raises(RegistrationError, match="files of models:/digits-rows/1 are not those"):
        roll_back(place.tracking, NAME, "")
    assert place.aliases() == before and not any(decided(place, version) for version in versions)


def test_rolling_back_needs_a_previous_champion(place: Registry, tested: list[str]) -> None:
    with pytest.raises(RegistrationError, match="no previous champion"):
        roll_back(place.tracking, NAME, "")
    version = place.version("first")
    promote_by_hand(place.tracking, version, "")
    with pytest.raises(RegistrationError, match="no previous champion"):
        roll_back(place.tracking, NAME, "")
    place.tracking.client.set_registered_model_alias(NAME, "previous", "1")  # a promotion was killed half-way
    assert "nothing was moved" in roll_back(place.tracking, NAME, "").text
    assert place.aliases() == {"champion": 1, "previous": 1}


def test_a_champion_that_came_meanwhile_is_not_overrun(
    place: Registry, monkeypatch: pytest.MonkeyPatch, tested: list[str]
) -> None:
    first, second, third = (place.version(key) for key in ("first", "second", "third"))
    promote_by_hand(place.tracking, first, "")
    monkeypatch.setattr(by_hand, "check_version", lambda *_: registry.promote(place.tracking, third, 1))
    with pytest.raises(RegistrationError, match="has got another champion meanwhile"):
        promote_by_hand(place.tracking, second, "")
    assert place.aliases() == {"champion": 3, "previous": 1} and decided(place, second) == ""


def deployed(tracking: Tracking, name: str, folder: Path) -> Version:
    run_id = start_run(tracking, RunSpec(folder.name, "basic", {}, {}, START_MS))
    uri = log_deployed_model(tracking, run_id, folder, step=0, tags={})
    return registry.register(tracking, name, Candidate(uri, run_id, folder.name, {}, "A net."))


def files_of(tracking: Tracking, version: Version) -> Path:
    model = version.model_uri.removeprefix("models:/")
    return tracking.lock_path.parent / "artifacts" / NAME / "models" / model / "artifacts"


@pytest.mark.slow
def test_a_rollback_loads_the_version_in_a_clean_process(tracking: Tracking, make_model: MakeModel) -> None:
    first, second = (deployed(tracking, "rolled", make_model("basic", seed)) for seed in (11, 12))
    for version, before in ((first, None), (second, 1)):
        assert registry.promote(tracking, version, before)
    moved = roll_back(tracking, "rolled", "it drifts")
    assert moved.text == f"champion: {second.uri} → {first.uri}; previous: {second.uri}"
    now = registry.champion(tracking, "rolled")
    assert now is not None and now.number == 1
    assert now.tags[DECIDED_TAG].startswith("rolled back to by hand, 20")
    assert now.tags[DECIDED_TAG].endswith("reason: it drifts")


@pytest.mark.slow
def test_a_graph_that_predicts_otherwise_is_found_out(tracking: Tracking, make_model: MakeModel) -> None:
    first, second = (deployed(tracking, "swapped", make_model("basic", seed)) for seed in (13, 14))
    graph = next(files_of(tracking, second).rglob("*.pt2"))
    shutil.copy(graph, next(files_of(tracking, first).rglob("*.pt2")))
    with pytest.raises(TrackingError, match=r"doesn't stand the test, and nothing was moved: .* differ by 0"):
        check_version(tracking, first)
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(TrackingError, match=r"doesn't stand the test, and nothing was moved: .* can't be used"):
        check_version(tracking, second)
