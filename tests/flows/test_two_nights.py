"""Two nightly runs and one device: never two trainings at once, whatever becomes of Prefect or of a run."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace, ask, done, free_port, wait_for

from flows.environment import set_defaults
from flows.server import answers
from rnnpipe.processes.slots import cpu_cores
from rnnpipe.training.journal import epochs_of, read_journal

FIRST, SECOND = "nightly", "nightly-two"
SEEDS, FOR_LONG = {FIRST: 0, SECOND: 1}, 5000
WAITS = f"waits for cpu, held by {FIRST} gru-16x1 seed 0 (run "


class Night(Workspace):
    """A workspace whose runs use a Prefect server of the test's, and what they train."""

    server: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ends = contextlib.ExitStack()

    def begin(self, name: str, epochs: int) -> "subprocess.Popen[str]":
        variants = [{"name": "gru", "hidden_size": 16, "num_layers": 1}]
        training = {"epochs": epochs, "batch_size": 8, "learning_rate": 0.003, "preflight": False}
        execution = {"device": "cpu", "threads": cpu_cores(), "checkpoint_every_s": 1}
        apart = {"registry": {"register_model": False}, "tracking": {"experiment": name}, "seeds": [SEEDS[name]]}
        config = self.config(name, variants=variants, training=training, execution=execution, **apart)
        process = self.ends.enter_context(self.start("run", config))
        self.ends.callback(process.kill)
        return process

    def journal(self, name: str) -> list[dict[str, Any]]:
        """Return the journal of a run's training; nothing before it has begun."""
        journals = [read_journal(folder) for folder in self.home.glob("store/trainings/*/")]
        return next((each for each in journals if each and each[0]["seed"] == SEEDS[name]), [])

    def epochs(self, name: str) -> int:
        return len(epochs_of(self.journal(name)))

    def logged(self) -> list[dict[str, Any]]:
        """Return what stands in Prefect's log of the second's waiting."""
        logs = ask(self.environment["PREFECT_API_URL"], "logs/filter", sort="TIMESTAMP_DESC", limit=200)
        return [log for log in logs if f"gru-16x1 s1 {WAITS}" in log["message"]]

    def start_server(self) -> None:
        url = self.environment["PREFECT_API_URL"]
        port = url.rpartition(":")[2].removesuffix("/api")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: answers(url))

    def stop_server(self) -> None:
        if self.server is not None:
            self.server.terminate()
            self.server.wait()


@pytest.fixture
def _one_core() -> Iterator[None]:
    """Leave one core to this process and to what it starts, where that can be done: so there is one slot."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def night(_one_core: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    night = Night(tmp_path)
    for name, value in night.environment.items():
        monkeypatch.setenv(name, value)
    set_defaults(night.home)
    night.environment |= {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    night.environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
    }  # fmt: skip
    night.start_server()
    with night.ends:
        yield night
    night.stop_server()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_nightly_runs_never_train_at_once(night: Night) -> None:
    first = night.begin(FIRST, epochs=FOR_LONG)
    wait_for(lambda: first.poll() is not None or night.epochs(FIRST) >= 2)
    second = night.begin(SECOND, epochs=20)
    wait_for(lambda: second.poll() is not None or night.logged())
    night.stop_server()
    seen = night.epochs(FIRST)
    night.start_server()
    wait_for(lambda: first.poll() is not None or night.epochs(FIRST) > seen)
    assert first.poll() is None and second.poll() is None
    assert not night.journal(SECOND), "the second waits, however Prefect's server fares"

    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for(lambda: second.poll() is not None or night.journal(SECOND))
    killed = night.journal(FIRST)
    again = night.begin(FIRST, epochs=FOR_LONG)
    went_on = done(second)
    wait_for(lambda: again.poll() is not None or night.epochs(FIRST) > len(epochs_of(killed)))
    again.send_signal(signal.SIGINT)
    interrupted = done(again)

    assert (went_on.code, interrupted.code) == (0, 130), (went_on.err, interrupted.err)
    assert f"gru-16x1 s1  {WAITS}" in went_on.out
    before, between, after = killed, night.journal(SECOND), night.journal(FIRST)
    (resumed,) = [place for place, event in enumerate(after) if event["event"] == "resumed"]
    assert before[-1]["time_ms"] <= between[0]["time_ms"]
    assert between[-1]["event"] == "end" and between[-1]["time_ms"] <= after[resumed]["time_ms"]
