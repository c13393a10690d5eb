"""What prune lists, what it removes, and what it never does."""

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock
from registry_helpers import NAME, Registry, make_old
from tracking_helpers import Finished

from rnnpipe.errors import RegistrationError
from rnnpipe.evaluation.report import PREDICTIONS_FILE
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import sha256_file
from rnnpipe.store import lock_file
from rnnpipe.tracking import export, promotion, registry
from rnnpipe.tracking.by_hand import check_version, roll_back
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.history import DATASET_TAG
from rnnpipe.tracking.promotion import register_trained
from rnnpipe.tracking.prunable import Item, Rules
from rnnpipe.tracking.pruning import plan_pruning, remove_all
from rnnpipe.tracking.record import OUTCOME_FILE, REPRODUCTIONS, Record, fetch_record
from rnnpipe.tracking.registry import Version
from rnnpipe.training.environment import Environment

DAYS_LATER_S = 30 * 86_400


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have left in the system's place for temporary files isn't meant."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def plan(place: Registry, *, keep: int = 0, versions: bool = True, later_s: float = 0) -> list[Item]:
    rules = Rules(keep=keep, versions=versions, days=7, now_s=time.time() + later_s)
    return plan_pruning(place.tracking, place.workspace, rules)


def prune(place: Registry, *, later_s: float = 0) -> list[Item]:
    return [item for item, is_gone in remove_all(plan(place, later_s=later_s)) if is_gone]


def going(items: Sequence[Item], kind: str = "") -> list[str]:
    return [item.name for item in items if item.remove is not None and item.kind.startswith(kind)]


def reasons(items: Sequence[Item], kind: str) -> dict[str, str]:
    """Return why what stays of a kind stays."""
    return {item.name: item.reason for item in items if item.remove is None and item.kind == kind}


def name_them(place: Registry, **aliases: int) -> None:
    for alias, number in aliases.items():
        place.tracking.client.set_registered_model_alias(NAME, alias, str(number))


def stored(tracking: Tracking) -> list[str]:
    return [
        f"models:/{model.model_id}" for model in tracking.client.search_logged_models([tracking.experiment_id])
    ]


def test_of_the_versions_those_stay_that_have_an_alias_or_are_new_or_foreign(place: Registry) -> None:
    versions = [place.version(f"f{number}") for number in range(1, 7)]
    place.tracking.client.create_model_version(NAME, versions[0].source, versions[0].run_id)
    name_them(place, champion=1, previous=2, shadow=4)
    uri = f"models:/{NAME}"
    needed = {f"{uri}/1": "champion", f"{uri}/2": "previous", f"{uri}/4": "shadow"}
    foreign = {f"{uri}/7": "rnnpipe didn't register it"}
    assert reasons(plan(place), "version") == {**needed, **foreign}
    assert going(plan(place), "version") == [f"{uri}/3", f"{uri}/5", f"{uri}/6"]
    newest = {f"{uri}/{number}": "one of the newest 2 without alias" for number in (5, 6)}
    assert reasons(plan(place, keep=2), "version") == {**needed, **newest, **foreign}
    for keep in (0, 2):
        assert going(plan(place, keep=keep, versions=False), "") == []
    old = reasons(plan(place, keep=2, versions=False), "version")[f"{uri}/3"]
    assert old == "old and without alias: only --versions removes it"


def test_stored_models_go_with_their_version_or_if_they_never_had_one(place: Registry) -> None:
    kept, old = place.version("kept"), place.version("old")
    name_them(place, champion=1)
    beside = place.store_model(kept.run_id, "another of the champion's run")
    lost = place.store_model(place.run("lost"), "never registered")
    client = place.tracking.client
    foreign = client.create_logged_model(place.tracking.experiment_id, name="not-ours")
    items = plan(place)
    assert len(going(items, "stored")) == 1 and old.model_uri[8:] in going(items, "stored")[0]
    assert {name.split()[0]: why for name, why in reasons(items, "stored model").items()} == {
        kept.model_uri[8:]: "a version needs it",
        beside[8:]: "a version needs it",
        lost[8:]: "of no version yet, and younger than 7 days",
    }
    assert all(item.size_bytes > 0 for item in items if item.kind == "stored model")
    files = place.workspace / "artifacts" / NAME / "models"
    assert len(list(files.rglob("MLmodel"))) == 4
    prune(place, later_s=DAYS_LATER_S)
    assert set(stored(place.tracking)) == {kept.model_uri, beside, f"models:/{foreign.model_id}"}
    assert {path.parents[1].name for path in files.rglob("MLmodel")} == {kept.model_uri[8:], beside[8:]}
    assert going(plan(place, later_s=DAYS_LATER_S)) == []


def test_a_model_that_a_version_came_to_need_stays(place: Registry) -> None:
    place.version("champion")
    run_id = place.run("slow")
    uri = place.store_model(run_id, "about to be registered")
    items = plan(place, later_s=DAYS_LATER_S)
    registry.register(place.tracking, NAME, registry.Candidate(uri, run_id, "slow", {}, ""))
    (found,) = [item for item in items if item.kind == "stored model" and uri[8:] in item.name]
    assert found.remove is not None and not found.remove()
    assert uri in stored(place.tracking)


def test_a_version_that_became_champion_meanwhile_stays_and_all_that_follows(place: Registry) -> None:
    for key in ("first", "second"):
        place.version(key)
    items = plan(place)
    name_them(place, champion=2)
    with pytest.raises(RegistrationError, match=f"models:/{NAME}/2 got an alias meanwhile"):
        list(remove_all(items))
    assert len(stored(place.tracking)) == 2 and place.aliases() == {"champion": 2}
    (version,) = place.tracking.client.search_model_versions(f"name = '{NAME}'")
    assert int(version.version) == 2


@pytest.fixture
def filled(place: Registry) -> Registry:
    """A workspace with two trainings: of the champion, and of a version that nothing names; all of it old."""
    for content in ("champion", "nameless"):
        made = place.training(content)
        tags = {"fingerprint": made["training"].ref.digest, "images": made["dataset"].ref.digest}
        version = place.version(content, **tags)
        place.output("evaluations", f"{content} on newer images", model=made["training"].ref.digest, sequences="n")
        fetched = place.workspace / "models" / version.tags[MODEL_DIGEST_TAG]
        fetched.mkdir(parents=True)
        (fetched / "weights.safetensors").write_text(content)
    name_them(place, champion=1)
    make_old(place.workspace / "store")
    make_old(place.workspace / "models")
    return place


def contents(place: Registry) -> list[str]:
    return sorted(path.read_text() for path in place.workspace.glob("store/*/*/content"))


def test_outputs_stay_that_a_version_or_a_recent_run_needs(filled: Registry) -> None:
    both = ["champion", "images of champion", "images of nameless", "nameless", "sequences of champion"]
    both += ["sequences of nameless", "test of champion", "test of nameless"]
    assert len(going(plan(filled, versions=False), "output")) == 2
    filled.output("sequences", "sequences of nameless", dataset=filled.training("nameless")["dataset"].ref.digest)
    items = plan(filled)
    assert set(reasons(items, "output").values()) == {"a version needs it", "used in the last 7 days"}
    list(remove_all(items))
    assert contents(filled) == both
    make_old(filled.workspace / "store")
    prune(filled)
    assert contents(filled) == ["champion", "images of champion", "sequences of champion", "test of champion"]
    assert [path.read_text() for path in filled.workspace.glob("models/*/*")] == ["champion"]
    assert not list(filled.workspace.rglob(".*.tmp"))


def test_outputs_in_work_or_used_meanwhile_stay(filled: Registry) -> None:
    unfinished = filled.store.root / "trainings" / ("f" * 64)
    unfinished.mkdir()
    make_old(filled.store.root)
    with FileLock(lock_file(unfinished), is_singleton=False):
        assert reasons(plan(filled), "output")["trainings/ffffffffffff"] == "somebody works on it"
    items = {item.name: item for item in plan(filled) if item.kind == "output"}
    item = items["trainings/ffffffffffff"]
    assert item.remove is not None and item.reason == "unfinished: no version and no recent run needs it"
    with FileLock(lock_file(unfinished), is_singleton=False):
        assert not item.remove()
    (unfinished / "log").mkdir()
    assert not item.remove() and unfinished.exists()
    make_old(filled.store.root)
    assert going(plan(filled), "output").count(item.name) == 1
    prune(filled)
    assert not unfinished.exists()


def test_images_stay_where_it_is_not_known_which_are_needed(filled: Registry) -> None:
    filled.tracking.client.delete_model_version_tag(NAME, "1", DATASET_TAG)
    shutil.rmtree(filled.workspace / "store" / "trainings")
    prune(filled)
    assert contents(filled) == ["images of champion", "images of nameless"]


def test_nothing_of_the_store_goes_by_an_mlflow_that_knows_no_version(
    filled: Registry, empty_database: Path
) -> None:
    before = contents(filled)
    elsewhere = Registry.copy_of(empty_database, filled.workspace.parent / "elsewhere")
    other = dataclasses.replace(filled, tracking=elsewhere.tracking)
    assert set(reasons(plan(other), "output").values()) == {
        "this MLflow has no version that would say what is needed"
    }
    prune(other)
    assert contents(filled) == before


def test_reproductions_and_temporary_files_go_unless_they_are_in_use(place: Registry) -> None:
    place.version("champion")
    folder = place.workspace / REPRODUCTIONS
    for name in ("finished", "unfinished", "old", "busy"):
        (folder / name).mkdir(parents=True)
    for name in ("finished", "busy"):
        (folder / name / OUTCOME_FILE).write_text("{}")
    make_old(folder / "old")
    left = place.workspace / "store" / ".weights.00000000-1.abc.tmp"
    left.parent.mkdir()
    left.write_text("half")
    make_old(left)
    with FileLock(folder / "busy.lock", is_singleton=False):
        items = plan(place, versions=False)
        assert going(items, "reproduction") == ["finished", "old"]
        assert reasons(items, "reproduction") == {
            "busy": "somebody works on it", "unfinished": "unfinished, and worked on in the last 7 days",
        }  # fmt: skip
        assert going(items, "temporary") == ["1 files"]
        list(remove_all(items))
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["busy", "unfinished"]
    assert not left.exists()


@pytest.fixture
def carried(place: Registry, tmp_path: Path) -> list[Version]:
    """Two versions that carry their records, the second champion, the first `previous`; one that is neither."""
    versions = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        finished = Finished(tmp_path / str(number), f"training {number}", seed=number)
        training, evaluation = finished.training, finished.evaluation
        images = place.output("dataset", f"images {number}").ref.digest
        files = [training.path / name for name in (*MODEL_FILES, "log/journal.jsonl")]
        record = Record(
            config={}, variant=0, seed=number, dataset_digest=images, sequences_digest="", code={}, device="cpu",
            threads=1, precision="fp32", environment=Environment.of_this_process(), losses_digest="",
            files={path.name: sha256_file(path) for path in [*files, evaluation.path / PREDICTIONS_FILE]},
        )  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(promotion, "Stranger", nullcontext)  # a clean process takes seconds
            patch.setattr(export, "check_round_trip", lambda *_: 0.0)
            versions.append(
                register_trained(
                    place.tracking, training, evaluation=evaluation, record=record, model_name=NAME,
                    run_id=place.run(f"run {number}"), tags={DATASET_TAG: images}, description="A net.",
                )
            )  # fmt: skip
    assert registry.promote(place.tracking, versions[0], None)
    assert registry.promote(place.tracking, versions[1], 1)
    place.version("nameless", images=place.output("dataset", "images").ref.digest)
    make_old(place.workspace / "store")
    return versions


def test_champion_and_previous_survive_with_all_they_need(
    place: Registry, carried: list[Version], tmp_path: Path
) -> None:
    prune(place, later_s=DAYS_LATER_S)
    client = place.tracking.client
    assert {int(each.version) for each in client.search_model_versions(f"name = '{NAME}'")} == {1, 2}
    assert set(stored(place.tracking)) == {version.model_uri for version in carried}
    for version in carried:
        folder = tmp_path / f"reproduce {version.number}"
        record = fetch_record(place.tracking, version, folder)  # weights, journal and predictions, verified
        digests = {manifest["digest"] for _, manifest in place.store.outputs()}
        assert record.dataset_digest in digests and len(digests) == 2
        assert client.get_run(version.run_id).info.lifecycle_stage == "active"
    assert check_version(place.tracking, carried[1]) <= 1e-5
    assert roll_back(place.tracking, NAME, "").champion.number == 1  # loaded in a clean process and tested


def test_a_removal_that_was_broken_off_is_finished_by_the_next(
    place: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = place.version("champion")
    name_them(place, champion=1)
    uri = place.store_model(place.run("lost"), "never registered")
    client = place.tracking.client
    monkeypatch.setattr(client._client, "delete_logged_model", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prune(place, later_s=DAYS_LATER_S)
    assert str(client.get_logged_model(uri[8:]).status) == "FAILED"
    assert going(plan(place), "stored") == [f"{uri[8:]} net"]
    monkeypatch.undo()
    assert len(prune(place)) == 1
    assert stored(place.tracking) == [version.model_uri]
