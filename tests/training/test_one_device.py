"""Two runs and one device: one training at a time; when its process is killed the other goes on by itself."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from rnnpipe.errors import TrainingError
from rnnpipe.references import StageRef
from rnnpipe.store import Store
from rnnpipe.training import supervise
from rnnpipe.training.job import training_recipe
from rnnpipe.training.journal import read_journal
from rnnpipe.training.supervise import train_supervised

SEQUENCES = StageRef(stage="sequences", key="k" * 64, digest="d" * 64, facts={})
FOR_LONG = 9000


@pytest.fixture(name="night")
def make_night(launcher, sequences_folder, tmp_path, make_config, monkeypatch):
    """Return a function that trains as a run of its own does, in a store of its own, on the only GPU."""
    monkeypatch.setattr(supervise, "TARGET", "training_workers:train_on_pretended_gpu")

    def train(run, *, epochs, on_events=lambda folder, events: None, on_busy):
        config = make_config({"epochs": epochs})
        recipe = training_recipe(SEQUENCES, config, config.variants[0], 0)
        job = {"config": config, "variant": 0, "seed": 0, "sequences_folder": sequences_folder}
        return train_supervised(
            launcher, Store(tmp_path / run), recipe, job=job, run=run, on_events=on_events, on_busy=on_busy
        )

    return train


def test_two_runs_never_train_at_once_and_the_second_goes_on_when_the_first_dies(night, tmp_path):
    told, second = [], []

    def kill_the_holder(held):
        told.append(held)
        (process,) = re.findall(r"\(run night-1, process (\d+) on ", held)
        os.kill(int(process), signal.SIGKILL)

    def start_second(folder, events):
        if second and second[0].done() and not told:
            pytest.fail("the second trained beside the first")
        if events and not second:
            second.append(threads.submit(night, "night-2", epochs=3, on_busy=kill_the_holder))

    with ThreadPoolExecutor() as threads:
        with pytest.raises(TrainingError, match="killed by SIGKILL"):
            night("night-1", epochs=FOR_LONG, on_events=start_second, on_busy=told.append)
        trained = second[0].result()
    (text,) = told
    assert text.startswith("cuda:1, held by pipeline rnn-8x2-drop0.25 seed 0 (run night-1, process ")
    (killed,) = tmp_path.glob("night-1/trainings/*/log")
    before, after = read_journal(killed.parent), read_journal(trained.path)
    assert [event["event"] for event in after if event["event"] != "steps"] == ["start", *["epoch"] * 3, "end"]
    assert before[-1]["time_ms"] <= after[0]["time_ms"]
