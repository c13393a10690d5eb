"""The number of threads: asked for, or measured in the training's share of the cores, once and for all."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_helpers import Trainings

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import build_network
from rnnpipe.files import read_json, write_json
from rnnpipe.runtime import Device, give_threads_to_kernels
from rnnpipe.training import supervise, threads
from rnnpipe.training.journal import read_journal
from rnnpipe.training.loop import Fit
from rnnpipe.training.threads import BUDGET_S, ROUNDS, TIMED, Threads, fastest, settle, threads_at_start

CPU, PRETENDED, MS = Device("cpu", "asked for"), "2 threads: pretended", "ms an update"


class Machine:
    """A clock, and updates that take as long as the table says, in ms by number of threads."""

    def __init__(self, took_ms: dict[int, float]) -> None:
        self.took_ms, self.now_s, self.updates = took_ms, 0.0, list[int]()
        self.slow: dict[int, float] = {}  # the update of this number takes so many ms more

    def update(self) -> None:
        number = torch.get_num_threads()
        self.now_s += (self.took_ms[number] + self.slow.get(len(self.updates), 0.0)) / 1000
        self.updates.append(number)

    def fastest(self) -> Threads:
        return fastest(self.update, list(self.took_ms), lambda: self.now_s)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    give_threads_to_kernels(False)  # whoever came before may have left them there
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("took_ms", "reason"),
    [
        ({1: 8.9, 2: 5.1}, "2 threads: 5.1 ms an update, with 1 8.9 ms"),
        ({1: 5.0, 2: 8.0}, "1 thread: 5.0 ms an update, with 2 8.0 ms"),
        ({1: 10.0, 2: 9.6}, "1 thread: 10.0 ms an update, with 2 9.6 ms"),
        ({1: 9.0, 2: 6.0, 4: 5.8, 6: 7.0}, f"2 threads: 6.0 {MS}, with 1 9.0 ms, with 4 5.8 ms, with 6 7.0 ms"),
    ],
    ids=["two", "one", "a tie goes to fewer", "a tie of more than one"],
)  # fmt: skip
def test_the_fastest_number_is_taken_and_the_times_are_told(took_ms: dict[int, float], reason: str) -> None:
    assert fastest_of(Machine(took_ms)) == (int(reason.split(maxsplit=1)[0]), reason)


def fastest_of(machine: Machine) -> tuple[int, str]:
    chosen = machine.fastest()
    return chosen.count, chosen.reason


def test_numbers_take_turns_and_one_slow_moment_decides_nothing() -> None:
    machine = Machine({1: 8.0, 2: 5.0})
    turn = 1 + TIMED
    machine.slow = {0: 100.0, turn: 100.0, 3 * turn + 1: 200.0}  # the first update of each, and one that is timed
    assert fastest_of(machine) == (2, "2 threads: 5.0 ms an update, with 1 8.0 ms")
    assert machine.updates == ([1] * turn + [2] * turn) * ROUNDS


def test_slow_updates_are_not_many() -> None:
    machine = Machine({1: 400.0, 2: 300.0, 4: 200.0})
    assert machine.fastest().count == 4
    assert set(machine.updates) == {1, 2, 4} and machine.now_s < 2.5 * BUDGET_S


@pytest.mark.parametrize(
    ("cores", "seeds", "expected"),
    [
        (8, 1, Threads(8)),
        (8, 3, Threads(2)),
        (2, 3, Threads(1, "1 thread: 3 trainings share 2 cores")),
        (2, 2, Threads(1, "1 thread: 2 trainings share 2 cores")),
        (1, 1, Threads(1, "1 thread: there is one core")),
    ],
)
def test_auto_measures_within_the_share_of_the_cores(
    make_config: Callable[..., PipelineConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, cores: int,
    seeds: int, expected: Threads,
) -> None:  # fmt: skip
    monkeypatch.setattr(threads, "cpu_cores", lambda: cores)
    config = with_seeds(make_config(threads="auto"), seeds)
    assert threads_at_start(config, CPU, tmp_path) == expected
    on_gpu = threads_at_start(config, Device("cuda:1", "asked for"), tmp_path)
    assert on_gpu == Threads(1, "1 thread: the work is on cuda:1")
    assert threads_at_start(make_config(threads=3), CPU, tmp_path) == Threads(3, "asked for as 3")


def with_seeds(config: PipelineConfig, total: int) -> PipelineConfig:
    return PipelineConfig.model_validate({**config.as_json(), "seeds": list(range(total))})


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"[]\n", b"{}\n", b'{"threads": 0, "threads_reason": ""}\n', b'{"threads": "9"}\n'],
)
def test_a_damaged_journal_says_no_number(make_config, monkeypatch, tmp_path, content):
    monkeypatch.setattr(threads, "cpu_cores", lambda: 8)
    (tmp_path / "log").mkdir()
    (tmp_path / "log/journal.jsonl").write_bytes(content)
    assert threads_at_start(make_config(threads="auto"), CPU, tmp_path) == Threads(8)


def test_measuring_changes_nothing_of_the_training(make_setting, data):
    setting, kept = make_setting(num_layers=2, dropout=0.5), list[int]()
    fitting, untouched = (Fit(build_network(setting.spec, 0), data, setting) for _ in range(2))
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    chosen = settle(Threads(2), fitting, kept.append)
    assert kept == [chosen.count] == [torch.get_num_threads()] and " ms an update, with " in chosen.reason
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]
    for name, value in untouched.network.state_dict().items():
        assert torch.equal(fitting.network.state_dict()[name], value), name
    assert not fitting.optimizer.state and fitting.progress == untouched.progress


def test_a_training_goes_on_with_the_threads_it_began_with(
    trainings, make_config, monkeypatch, launcher, tmp_path
):
    """Though the machine has one core now, and without measuring; its bytes are those of `threads: 2`."""
    config = make_config(threads="auto")
    folder = trainings.store.folder(trainings.recipe(config))
    folder.mkdir(parents=True)
    write_json(Path(f"{folder}.update"), 8)
    monkeypatch.setattr(supervise, "TARGET", "training_workers:find_two_fastest_and_be_terminated")
    with pytest.raises(TrainingError, match="stopped after step 9"):
        trainings.run(config)
    monkeypatch.setattr(supervise, "TARGET", "training_workers:train_on_one_core_without_measuring")
    entry = trainings.run(config)
    start, resumed = (event for event in read_journal(entry.path) if event["event"] in ("start", "resumed"))
    assert resumed["step"] == 9
    for told in (entry.ref.facts, start):
        assert (told["threads"], told["threads_reason"]) == (2, PRETENDED)
    monkeypatch.setattr(supervise, "TARGET", "training_workers:find_two_fastest")
    at_once = Trainings(launcher, tmp_path / "at once", trainings.sequences_folder).run(config)
    monkeypatch.setattr(supervise, "TARGET", "rnnpipe.training.job:train")
    fixed = Trainings(launcher, tmp_path / "fixed", trainings.sequences_folder).run(make_config(threads=2))
    assert entry.ref.digest == at_once.ref.digest == fixed.ref.digest
    assert fixed.ref.facts["threads_reason"] == "asked for as 2"


def test_cores_that_were_tried_and_are_not_needed_are_given_back(trainings, make_config, monkeypatch):
    monkeypatch.setattr(supervise, "TARGET", "training_workers:find_one_fastest_of_two_and_tell_cores")
    entry = trainings.run(make_config(threads="auto"))
    assert entry.ref.facts["threads"] == 1
    assert read_json(Path(f"{entry.path}.cores")) == {"measures": 2, "trains": 1}


def test_what_auto_chose_is_no_part_of_the_recipe(trainings: Trainings, make_config: Any) -> None:
    """So that a training is skipped in a run with more trainings, or on another number of cores."""
    auto = make_config(threads="auto")
    assert trainings.recipe(auto).key == trainings.recipe(with_seeds(auto, 5)).key
    assert trainings.recipe(auto).key != trainings.recipe(make_config(threads=1)).key
