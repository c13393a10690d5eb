"""The store: cache, resume and explanation of every stage."""

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnpipe.files import digest_of
from rnnpipe.references import Recipe, StageRef
from rnnpipe.store import MANIFEST, Entry, Inventory, Store, workspace_root

INPUTS: dict[str, Any] = {
    "sequences": "ab" * 32,
    "variant": {"name": "gru", "hidden_size": 128},
    "training": {"learning_rate": 0.001, "epochs": 2, "clip": None},
    "seed": 0,
    "code": {"models": "01" * 32},
}
BUILDER = """
import logging, os, signal, sys, time
from pathlib import Path
from rnnpipe.files import atomic_path
from rnnpipe.references import Recipe
from rnnpipe.store import Store

def build(folder):
    with Path(sys.argv[1], "builds").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    with atomic_path(folder / "weights") as temporary:
        temporary.write_text("half")
        if sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(sys.argv[2]))
    return {"made_by": os.getpid()}

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
entry = Store(Path(sys.argv[1])).ensure(Recipe(stage="trainings", inputs={"seed": 0}), build, "ab12")
print(entry.ref.facts["made_by"])
"""


def recipe(**changes: Any) -> Recipe:
    """Return a training's recipe with some inputs changed, given as training__epochs=3."""
    inputs = deepcopy(INPUTS)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = inputs
        for part in parents:
            target = target[part]
        target[last] = value
    return Recipe(stage="trainings", inputs=inputs)


def build(folder: Path) -> dict[str, Any]:
    (folder / "weights").write_bytes(bytes(1000))
    (folder / "log").mkdir(exist_ok=True)
    (folder / "log" / "journal").write_text("epoch 1")
    return {"accuracy": 0.5}


def no_build(folder: Path) -> dict[str, Any]:
    raise AssertionError("it is stored, so nothing is built")


def store(folder: Path) -> Store:
    """Return a store as a new process sees it."""
    return Store(folder)


def ensure(folder: Path, wanted: Recipe | None = None, run: str = "ab12") -> Entry:
    return store(folder).ensure(wanted or recipe(), build, run)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# ---- keys


def leaves(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [prefix]
    return [leaf for name, child in value.items() for leaf in leaves(child, (*prefix, name))]


@pytest.mark.parametrize("leaf", leaves(INPUTS), ids=".".join)
def test_each_input_is_part_of_the_key(leaf: tuple[str, ...]) -> None:
    assert recipe(**{"__".join(leaf): "another"}).key != recipe().key


def test_the_stage_is_part_of_the_key_and_the_order_is_not() -> None:
    assert Recipe(stage="evaluations", inputs=INPUTS).key != recipe().key
    assert Recipe(stage="trainings", inputs=dict(reversed(INPUTS.items()))).key == recipe().key


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.booleans(), min_size=1), st.data())
def test_any_change_of_any_inputs_changes_the_key(inputs: dict[str, Any], data: st.DataObject) -> None:
    key = Recipe(stage="s", inputs=inputs).key
    assert Recipe(stage="s", inputs=dict(reversed(inputs.items()))).key == key
    name = data.draw(st.sampled_from(sorted(inputs)))
    assert Recipe(stage="s", inputs={**inputs, name: [inputs[name]]}).key != key


# ---- cache and resume


def test_an_output_is_built_once_and_found_again(tmp_path: Path) -> None:
    made = ensure(tmp_path)
    assert made.ref == StageRef(
        stage="trainings", key=recipe().key, digest=made.ref.digest, facts={"accuracy": 0.5}
    )
    assert store(tmp_path).ensure(recipe(), no_build, "cd34") == made
    assert made.run == "ab12"
    assert store(tmp_path).resolve(made.ref) == made


def test_a_reference_that_the_store_does_not_hold_is_not_found(tmp_path: Path) -> None:
    made = ensure(tmp_path).ref
    for other in (made.model_copy(update={"digest": "0" * 64}), made.model_copy(update={"key": "1" * 64})):
        with pytest.raises(FileNotFoundError, match="not in the store"):
            store(tmp_path).resolve(other)


def test_the_log_is_no_part_of_the_digest_but_everything_else_is(tmp_path: Path) -> None:
    def with_log(folder: Path) -> dict[str, Any]:
        build(folder)
        (folder / "log" / "journal").write_text("quite another day")
        return {}

    def with_weights(folder: Path) -> dict[str, Any]:
        build(folder)
        (folder / "weights").write_bytes(bytes(999))
        return {}

    digests = [
        Store(tmp_path / str(number)).ensure(recipe(), how, "r").ref.digest
        for number, how in enumerate((build, with_log, with_weights))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_failed_build_leaves_unfinished_work_to_go_on_from(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("epoch 1")
        raise ValueError("stopped")

    def go_on(folder: Path) -> dict[str, Any]:
        assert (folder / "checkpoint").read_text() == "epoch 1"
        return build(folder)

    with pytest.raises(ValueError, match="stopped"):
        store(tmp_path).ensure(recipe(), fail, "ab12")
    assert store(tmp_path).find(recipe()) is None
    assert store(tmp_path).ensure(recipe(), go_on, "cd34").run == "cd34"


def run_builder(folder: Path, how: str = "0.3") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(folder), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_builds_and_both_have_the_output(tmp_path: Path) -> None:
    users = [run_builder(tmp_path) for _ in range(2)]
    makers = {user.communicate(timeout=60)[0].splitlines()[-1] for user in users}
    assert [user.returncode for user in users] == [0, 0]
    assert len(makers) == 1
    assert len((tmp_path / "builds").read_text().split()) == 1


def test_after_a_kill_in_a_build_the_next_one_builds_and_sweeps(tmp_path: Path) -> None:
    killed = run_builder(tmp_path, "die")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    swept = Recipe(stage="trainings", inputs={"seed": 0})
    (left,) = store(tmp_path).folder(swept).iterdir()
    assert left.name.startswith(".weights.")
    entry = store(tmp_path).ensure(swept, build, "cd34")
    assert sorted(path.name for path in entry.path.iterdir()) == ["log", MANIFEST, "weights"]


def test_who_waits_is_told_whom_for_and_uses_the_result(tmp_path: Path) -> None:
    first = run_builder(tmp_path, "4")
    while not (tmp_path / "builds").exists():
        time.sleep(0.05)
    second = run_builder(tmp_path)
    maker, (told, *rest) = first.communicate(timeout=60)[0].strip(), second.communicate(timeout=60)[0].splitlines()
    assert told.startswith(f"`-c {tmp_path} 4` (process {maker} on ") and ", since " in told
    assert told.endswith("this run waits and uses the result")
    assert rest == [maker] and maker == str(first.pid)
    assert not list(tmp_path.rglob("*.holder"))


def test_stock_is_taken_of_what_is_whole_damaged_and_unfinished(tmp_path: Path) -> None:
    assert store(tmp_path).take_stock() == Inventory(0, (), ())
    ensure(tmp_path)
    torn = ensure(tmp_path, recipe(seed=1)).path
    truncate(torn / "weights")
    headless = ensure(tmp_path, recipe(seed=2)).path
    flip_a_bit(headless / MANIFEST)
    killed = run_builder(tmp_path, "die")
    killed.communicate(timeout=60)
    begun = store(tmp_path).folder(Recipe(stage="trainings", inputs={"seed": 0}))
    assert store(tmp_path).take_stock() == Inventory(1, tuple(sorted([torn, headless])), (begun,))


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a/../../../outside", "nul\0byte"])
def test_a_manifest_names_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = ensure(tmp_path).path / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["seal"]
    manifest["files"][name] = "0" * 64
    path.write_text(json.dumps({**manifest, "seal": digest_of(manifest)}))
    outside = tmp_path / "outside"
    outside.touch()
    assert store(tmp_path).find(recipe()) is None
    ensure(tmp_path)
    assert outside.exists()


# ---- damage


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink], ids=["bit", "truncated", "missing"])
@pytest.mark.parametrize("name", ["weights", "log/journal", MANIFEST])
def test_damage_is_seen_and_made_good(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], name: str
) -> None:
    made = ensure(tmp_path)
    damage(made.path / name)
    with caplog.at_level(logging.WARNING):
        assert store(tmp_path).find(recipe()) is None
    if (name, damage) != (MANIFEST, Path.unlink):  # without a manifest it is unfinished work, and no surprise
        assert "makes it anew" in caplog.text and "trainings/" in caplog.text
        assert not store(tmp_path).plan(recipe()).present
        assert store(tmp_path).plan(recipe()).sentence == "runs: the stored files don't match their digests"
    again = ensure(tmp_path, run="cd34")
    assert (again.ref, again.run) == (made.ref, "cd34")
    assert store(tmp_path).find(recipe()) == again


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    path = ensure(tmp_path).path / MANIFEST
    manifest = json.loads(path.read_text())
    for name in manifest:
        other = {**manifest, name: {"accuracy": 0.99} if name == "facts" else "0" * 64}
        path.write_text(json.dumps(other))
        assert store(tmp_path).find(recipe()) is None, name
    path.write_text(json.dumps(manifest))
    assert store(tmp_path).find(recipe()) is not None
    path.write_text("[]")
    assert store(tmp_path).find(recipe()) is None


def test_damaged_results_are_made_from_the_work_that_is_whole(tmp_path: Path) -> None:
    made = ensure(tmp_path)
    flip_a_bit(made.path / "weights")

    def go_on(folder: Path) -> dict[str, Any]:
        assert (folder / "log" / "journal").exists() and not (folder / "weights").exists()
        return build(folder)

    assert store(tmp_path).ensure(recipe(), go_on, "r").ref == made.ref


def test_nothing_is_made_from_damaged_work(tmp_path: Path) -> None:
    made = ensure(tmp_path)
    flip_a_bit(made.path / "log" / "journal")

    def anew(folder: Path) -> dict[str, Any]:
        assert not list(folder.iterdir())
        return build(folder)

    assert store(tmp_path).ensure(recipe(), anew, "r").ref == made.ref


# ---- explanation


def test_a_stored_output_is_skipped_and_says_whose_it_is(tmp_path: Path) -> None:
    ensure(tmp_path)
    plan = store(tmp_path).plan(recipe())
    assert plan.present and plan.sentence == "skipped: same five inputs as run ab12"


def test_the_first_of_its_kind_says_so(tmp_path: Path) -> None:
    plan = store(tmp_path).plan(recipe())
    assert not plan.present and plan.sentence == "runs: nothing like it is stored yet"


def test_before_a_run_the_same_reason_is_told_as_what_would_be(tmp_path: Path) -> None:
    first = store(tmp_path).plan(recipe())
    assert (first.sentence, first.forecast) == tuple(
        f"{verb}: nothing like it is stored yet" for verb in ("runs", "would run")
    )
    ensure(tmp_path)
    assert store(tmp_path).plan(recipe()).forecast == "skipped: same five inputs as run ab12"


def test_what_was_begun_is_gone_on_with(tmp_path: Path) -> None:
    ensure(tmp_path, recipe(seed=1))
    run_builder(tmp_path, "die").communicate(timeout=60)
    plan = store(tmp_path).plan(Recipe(stage="trainings", inputs={"seed": 0}))
    assert plan.forecast == "would run: it was begun and not finished"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"training__learning_rate": 0.002}, "runs: training.learning_rate 0.001 → 0.002"),
        ({"training__clip": 1.5, "seed": 3}, "runs: seed 0 → 3, training.clip null → 1.5"),
        ({"training__clip": True}, "runs: training.clip null → true"),
        ({"sequences": "cd" * 32}, "runs: sequences changed abababab → cdcdcdcd"),
        ({"code__models": "23" * 32}, "runs: code of rnnpipe.models changed (revision 01010101 → 23232323)"),
        (
            {"code__evaluation/deploy.py": "23" * 32},
            "runs: code of rnnpipe.evaluation.deploy 23232323 is new",
        ),
        ({"torch": "2.12"}, "runs: torch 2.12 is new"),
        ({"variant": {"name": "gru"}}, "runs: variant.hidden_size 128 is gone"),
        (
            {"seed": 1, "training__epochs": 3, "training__clip": 1, "variant__hidden_size": 64, "x": 1, "y": 2},
            "runs: seed 0 → 1, training.clip null → 1, training.epochs 2 → 3, variant.hidden_size 128 → 64"
            " and 2 more",
        ),
    ],
)
def test_what_differs_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    ensure(tmp_path)
    assert store(tmp_path).plan(recipe(**changes)).sentence == sentence


def test_the_same_variant_and_seed_are_compared_before_what_is_otherwise_nearer(tmp_path: Path) -> None:
    ensure(tmp_path, recipe(training__learning_rate=0.1, training__epochs=9))
    ensure(tmp_path, recipe(training__learning_rate=0.5, seed=1))
    ensure(tmp_path, recipe(training__learning_rate=0.5, variant__name="lstm"))
    plan = store(tmp_path).plan(recipe(training__learning_rate=0.5))
    assert plan.sentence == "runs: training.epochs 9 → 2, training.learning_rate 0.1 → 0.5"


def test_of_equally_near_ones_the_newest_is_compared(tmp_path: Path) -> None:
    for rate in (0.1, 0.2, 0.3):
        ensure(tmp_path, recipe(training__learning_rate=rate))
        time.sleep(0.001)
    assert store(tmp_path).plan(recipe()).sentence == "runs: training.learning_rate 0.3 → 0.001"


def test_the_workspace_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNPIPE_HOME", str(tmp_path / "mine"))
    assert Store.of_workspace().root == tmp_path / "mine" / "store"
    monkeypatch.setenv("RNNPIPE_HOME", "")
    monkeypatch.chdir(tmp_path)
    assert workspace_root() == tmp_path / ".rnnpipe"


def test_digests_of_equal_facts_agree_across_runs(tmp_path: Path) -> None:
    first, second = (Store(tmp_path / name).ensure(recipe(), build, name).ref for name in ("a", "b"))
    assert first == second and first.digest == digest_of({"weights": _sha256_of_zeros()})


def _sha256_of_zeros() -> str:
    return "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53"
