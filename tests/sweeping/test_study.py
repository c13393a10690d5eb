"""Trials in Optuna's storage, with an objective that trains nothing: proposed, pruned, killed, gone on with."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import ConfigError, StorageError
from rnnpipe.sweeping.facts import SweepFacts, TrialFacts

pytest.importorskip("optuna")

from fake_sweep import EPOCHS, accuracy_of, config_of, sweep_all

from rnnpipe.sweeping.storage import STORAGE_VARIABLE, check_storage
from rnnpipe.sweeping.study import open_study

HERE = Path(__file__).parent
TRIALS = 12


@pytest.fixture(autouse=True)
def _no_storage_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a sweep that nobody disturbed."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> tuple[TrialFacts, ...]:
    """The trials of a sweep that nobody disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(STORAGE_VARIABLE, raising=False)
        return sweep_all(folder, config_of(trials=TRIALS))


def outcome(trials: tuple[TrialFacts, ...]) -> list[tuple[Any, ...]]:
    """Return what doesn't hang on the clock."""
    return [(each.number, each.state, each.values, each.accuracy, each.epochs) for each in trials]


def test_trials_are_proposed_pruned_and_ranked(undisturbed: tuple[TrialFacts, ...]) -> None:
    assert [each.number for each in undisturbed] == list(range(TRIALS))
    assert {each.state for each in undisturbed} == {"complete", "pruned"}
    assert all(each.state == "complete" for each in undisturbed[:5]), "five finish before one is pruned"
    assert all(1 < each.epochs < EPOCHS for each in undisturbed if each.state == "pruned")
    assert all(each.epochs == EPOCHS for each in undisturbed if each.state == "complete")
    facts = SweepFacts(name="a", config=config_of(), validated=100, trials=undisturbed)
    finished = [each for each in undisturbed if each.state == "complete"]
    assert facts.best is not None
    assert facts.best.accuracy == max(accuracy_of(each.values) for each in finished)
    assert facts.ranked[0] == facts.best and facts.counts.startswith(f"{TRIALS} trials: ")


def test_values_are_of_the_kind_that_the_field_takes(undisturbed: tuple[TrialFacts, ...]) -> None:
    for each in undisturbed:
        rate, size, schedule = (each.values[path] for path in config_of().sweep.parameters)  # type: ignore[union-attr]
        assert isinstance(rate, float) and 0.001 <= rate <= 0.1
        assert isinstance(size, int) and size in range(16, 65, 16)
        assert schedule in ("constant", "one-cycle")
    assert len({tuple(each.values.values()) for each in undisturbed}) == len(undisturbed)


def test_a_sweep_killed_anywhere_ends_as_if_undisturbed(
    tmp_path: Path, undisturbed: tuple[TrialFacts, ...]
) -> None:
    script = [sys.executable, str(HERE / "fake_sweep.py"), str(tmp_path), str(TRIALS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    for point in ("report 2 2", "tell 8"):
        done = subprocess.run([*script, point], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
    lines = list[str]()
    assert outcome(sweep_all(tmp_path, config_of(trials=TRIALS), log=lines)) == outcome(undisturbed)
    assert lines == ["goes on 8", "begins 9", "begins 10", "begins 11"]


def test_a_finished_sweep_does_nothing_and_goes_on_with_more(
    tmp_path: Path, undisturbed: tuple[TrialFacts, ...]
) -> None:
    lines = list[str]()
    for trials in (2, 2, 4, 3):
        sweep_all(tmp_path, config_of(trials=trials), log=lines)
    assert lines == [f"begins {number}" for number in range(4)]
    assert outcome(sweep_all(tmp_path, config_of(trials=4))) == outcome(undisturbed)[:4]


def test_another_seed_tries_other_values(tmp_path: Path, undisturbed: tuple[TrialFacts, ...]) -> None:
    (seeded,) = sweep_all(tmp_path, config_of(trials=1, seed=1))
    assert seeded.values != undisturbed[0].values


def test_without_pruning_no_trial_is_stopped(tmp_path: Path, undisturbed: tuple[TrialFacts, ...]) -> None:
    first = next(each.number for each in undisturbed if each.state == "pruned")
    trials = sweep_all(tmp_path, config_of(trials=first + 1, pruning=False, sampler="random"))
    assert {each.state for each in trials} == {"complete"}
    assert trials[first].values == undisturbed[first].values, "the first ten are at random with tpe too"


def test_failed_trials_count_and_hide_nothing(tmp_path: Path) -> None:
    with open_study(tmp_path, "a", config_of(trials=2)) as study:
        for _ in range(2):
            trial = study.next()
            assert trial is not None
            study.tell(trial.number, "failed", error="the loss isn't finite", trainings=["k"])
        assert study.next() is None and study.finished == 2 and study.importance() == {}
        facts = SweepFacts(name="a", config=config_of(), validated=10, trials=study.trials())
    assert facts.best is None and facts.trials[0].error == "the loss isn't finite"
    assert facts.counts == "2 trials: 2 failed"


@pytest.mark.usefixtures("undisturbed")
def test_importance_finds_what_matters(folder: Path) -> None:
    config = config_of(trials=TRIALS)
    with open_study(folder, "a", config) as study:
        found = study.importance()
        assert found == study.importance()
    assert next(iter(found)) == "training.learning_rate" and set(found) == set(config.sweep.parameters)  # type: ignore[union-attr]
    assert all(share >= 0 for share in found.values()) and 0.5 < sum(found.values()) <= 1.0001


def test_a_sweep_is_held_by_one_process(tmp_path: Path) -> None:
    script = [sys.executable, str(HERE / "fake_sweep.py"), str(tmp_path), "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)])}
    with (
        open_study(tmp_path, "a", config_of(trials=1)) as study,
        subprocess.Popen(script, env=environment, stderr=subprocess.PIPE, text=True) as other,
    ):
        assert other.stderr is not None
        assert "is at work on the sweep a; this run waits" in other.stderr.readline()
        assert not study.trials()
        other.kill()


def test_a_sweep_that_another_process_may_have_by_now_ends(tmp_path: Path) -> None:
    from sqlalchemy.exc import OperationalError

    lost = OperationalError("SELECT 1", {}, Exception("the connection is closed"))
    with open_study(tmp_path, "a", config_of(trials=2)) as study:
        trial = study.next()
        assert trial is not None
        study._check_held = lambda: (_ for _ in ()).throw(lost)
        for ask in (study.next, lambda: study.tell(trial.number, "complete", 0.5)):
            with pytest.raises(StorageError, match="the connection is closed"):
                ask()
        assert [each.state for each in study.trials()] == ["running"]


def test_the_storage_is_sqlite_or_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_storage(tmp_path) == f"sqlite:///{tmp_path}/sweeps.db"
    monkeypatch.setenv(STORAGE_VARIABLE, f"sqlite:///{tmp_path}/other.db")
    assert check_storage(tmp_path) == f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql://me:secret@host/sweeps")
    assert check_storage(tmp_path) == "postgresql+psycopg://me:secret@host/sweeps"
    for address in ("mysql://me:secret@host/sweeps", "redis://:secret@host", "sqlite:///a?b", "sweeps.db"):
        monkeypatch.setenv(STORAGE_VARIABLE, address)
        with pytest.raises(ConfigError, match="no sweep can be kept at") as caught:
            check_storage(tmp_path)
        assert "secret" not in str(caught.value) and STORAGE_VARIABLE in str(caught.value)


def test_a_storage_that_cannot_be_reached_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv(STORAGE_VARIABLE, "postgresql://me:secret@127.0.0.1:1/sweeps")
    with pytest.raises(StorageError, match="can't be used") as caught, open_study(tmp_path, "a", config_of()):
        pass
    assert "secret" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "sweeps.db").write_bytes(b"no database at all, whatever its name says" * 100)
    with pytest.raises(StorageError, match=r"sweeps\.db can't be used"), open_study(tmp_path, "a", config_of()):
        pass


@pytest.mark.usefixtures("undisturbed")
def test_nothing_that_is_stored_is_a_pickle(folder: Path) -> None:
    content = (folder / "sweeps.db").read_bytes()
    assert b"\x80\x04\x95" not in content and b"Sampler" not in content, (
        "no sampler is stored, nor a pickle's start"
    )


@pytest.fixture
def _without_optuna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    yield


@pytest.mark.usefixtures("_without_optuna")
def test_without_optuna_the_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rnnpipe\[sweep\]"):
        check_storage(tmp_path)


def test_a_config_s_order_of_fields_is_kept(undisturbed: tuple[TrialFacts, ...]) -> None:
    config: PipelineConfig = config_of()
    facts = SweepFacts(name="a", config=config, validated=1, trials=undisturbed)
    assert facts.paths == ["training.learning_rate", "variants.0.hidden_size", "training.schedule"]
    assert SweepFacts.model_validate(facts.model_dump(mode="json")) == facts
