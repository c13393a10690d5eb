"""Several processes that make each update together: what comes out is what one would have made."""

import itertools
import os
import signal
from pathlib import Path

import psutil
import pytest
import torch
from training_helpers import Trainings

from rnnpipe.errors import TrainingError
from rnnpipe.evaluation.deploy import load_model
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.runtime import Device
from rnnpipe.training.journal import read_journal, step_losses
from rnnpipe.training.team import ProcessTeam, team_devices

NET = [{"name": "gru", "hidden_size": 8, "num_layers": 1}]
STEPPED = {"batch_size": 7, "rotation_degrees": 10, "label_smoothing": 0.1}  # 90 images: the last update has 6

few_cores = pytest.mark.skipif(cpu_cores() < 2, reason="two processes need two cores")


@few_cores
def test_two_processes_make_what_one_makes(trainings, make_config, launcher, tmp_path):
    alone = trainings.run(make_config(STEPPED, NET))
    losses = [loss for _, loss in step_losses(trainings.told)]
    team = Trainings(launcher, tmp_path / "team", trainings.sequences_folder)
    together = team.run(make_config(STEPPED, NET, processes=2))
    assert together.ref.facts["processes"] == 2 and "processes" in str(trainings.recipe(make_config()).inputs)
    assert [loss for _, loss in step_losses(team.told)] == pytest.approx(losses, rel=2e-5)
    assert team.told == read_journal(together.path)
    (_, one), (_, two) = load_model(alone.path), load_model(together.path)
    for ours, theirs in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    again = Trainings(launcher, tmp_path / "again", trainings.sequences_folder)
    assert again.run(make_config(STEPPED, NET, processes=2)).ref.digest == together.ref.digest
    assert not list(together.path.rglob("*team*"))


@few_cores
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_where_one_is_killed_all_go_on_from_the_checkpoint(trainings, make_config, launcher, tmp_path, rank):
    config = make_config({**STEPPED, "epochs": 40}, NET, processes=2)
    undisturbed = trainings.run(config)
    team, killed = Trainings(launcher, tmp_path / "team", trainings.sequences_folder), list[int]()

    def kill(folder: Path) -> None:
        if not killed and "epoch" in {event["event"] for event in team.told}:
            # the fork server, its job, and that one's processes, in the order of their start
            jobs = [job for server in psutil.Process().children() for job in server.children()]
            members = sorted(each.pid for job in jobs for each in job.children())
            if len(members) == 2:
                killed.append(members[rank])
                os.kill(killed[0], signal.SIGKILL)

    team.while_training = kill
    assert team.run(config).ref.digest == undisturbed.ref.digest
    assert killed and "resumed" in {event["event"] for event in team.told}


@few_cores
def test_what_one_finds_is_told_once(trainings, make_config):
    relu = [{"name": "rnn", "hidden_size": 64, "nonlinearity": "relu"}]
    wild = {
        "learning_rate": 10, "optimizer": "sgd", "momentum": 0.99, "gradient_clip_norm": None, "batch_size": 4,
        "epochs": 40,
    }  # fmt: skip
    with pytest.raises(TrainingError, match=r"the loss became|weights became"):
        trainings.run(make_config(wild, relu, processes=2))
    assert len([event for event in trainings.told if event["event"] == "start"]) == 1


@pytest.mark.parametrize(("size", "batch"), [(2, 7), (3, 7), (4, 4), (4, 3), (1, 5)])
def test_the_parts_of_a_batch_are_the_batch(size, batch, monkeypatch):
    monkeypatch.setattr(ProcessTeam, "__init__", lambda self, rank: self.__dict__.update(rank=rank, size=size))
    parts = [list(range(batch))[ProcessTeam(rank).part(batch)] for rank in range(size)]
    if batch < size:
        assert parts == [list(range(batch))] * size
    else:
        assert [*itertools.chain(*parts)] == list(range(batch)) and max(map(len, parts)) - min(
            map(len, parts)
        ) <= 1
    values = torch.rand(batch)
    mean = sum(
        ProcessTeam(rank).weighted(values[part].mean(), len(part), batch) for rank, part in enumerate(parts)
    )
    torch.testing.assert_close(mean / size, values.mean())


def test_each_process_has_a_gpu_of_its_own_or_shares_the_cpu():
    assert team_devices(Device("cpu", "asked for"), 3) == [Device("cpu", "asked for")] * 3
    assert [each.name for each in team_devices(Device("cuda:0", "asked for"), 2)] == ["cuda:0", "cuda:1"]
    assert [each.name for each in team_devices(Device("cuda:1", "asked for"), 1)] == ["cuda:1"]
