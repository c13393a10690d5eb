"""A workspace of the tests: the command line in it, as processes of their own, and what they leave behind."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from rnnpipe.config import PipelineConfig
from rnnpipe.data.stages import build_dataset, build_sequences, dataset_recipe, sequences_recipe
from rnnpipe.store import Entry, Store

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "digits", "limit": 300},
    "variants": [{"name": "single-neuron"}, {"name": "gru", "hidden_size": 8, "num_layers": 1}],
    "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "preflight": False},
    "evaluation": {"latency_repeats": 10},
}
TINY_LABELS = {"single-neuron s0", "gru-8x1 s0"}
BUSY = 503  # SQLite is locked; Prefect's own clients ask again as well
OF_A_USER = ("PREFECT_", "MLFLOW_", "RNNPIPE_")  # what the machine's own user has set doesn't count here


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Workspace:
    """A folder with a workspace in it, and the environment in which the command line finds it."""

    folder: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        others = {name: value for name, value in os.environ.items() if not name.startswith(OF_A_USER)}
        others.pop("CI", None)  # there, the terminal is told less
        self.environment = {
            **others, "RNNPIPE_HOME": str(self.home), "RNNPIPE_LOCKS": str(self.folder / "locks"),
            "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "118",
        }  # fmt: skip

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def config(self, name: str = "tiny", **sections: Any) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**TINY, "name": name, **sections}), encoding="utf-8")
        return path

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "rnnpipe", *map(str, arguments)], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def rnnpipe(self, *arguments: object) -> Done:
        with self.start(*arguments) as process:
            return done(process)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that were started for this workspace."""
        return [process for process in psutil.process_iter() if _home_of(process) == str(self.home)]

    def manifests(self, stage: str) -> dict[Path, int]:
        """Return when each output of a stage was finished."""
        return {path: path.stat().st_mtime_ns for path in self.home.glob(f"store/{stage}/*/manifest.json")}


def done(process: "subprocess.Popen[str]") -> Done:
    """Wait until a command has ended."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Done(process.returncode, out, err)


def wait_for(is_true: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.05)


def store_data(store: Store, config: PipelineConfig, run: str) -> tuple[Entry, Entry]:
    """Store the images of a config that come with a package, and their sequences."""
    dataset = store.ensure(
        dataset_recipe(config.data), lambda folder: build_dataset(config.data, store.root, folder), run
    )
    sequences = store.ensure(
        sequences_recipe(dataset.ref, config.data, config.sequence),
        lambda folder: build_sequences(dataset, config.data, config.sequence, folder),
        run,
    )
    return dataset, sequences


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(api_url: str, what: str, **filters: Any) -> list[dict[str, Any]]:
    """Return what the Prefect API finds, for instance for "task_runs/filter"."""
    answer = httpx.post(f"{api_url}/{what}", json=filters, timeout=30).raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def start_run(api_url: str, deployment: str, parameters: dict[str, Any]) -> str:
    """Have Prefect run a deployment, and return the flow run's id."""
    (found,) = ask(api_url, "deployments/filter", deployments={"name": {"any_": [deployment]}})
    answer = patiently("POST", f"{api_url}/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    return str(answer.json()["id"])


def remove_all(api_url: str, kind: str, **filters: Any) -> None:
    """Remove all deployments, flow runs or automations that a filter finds."""
    for each in ask(api_url, f"{kind}/filter", **filters):
        patiently("DELETE", f"{api_url}/{kind}/{each['id']}")


def patiently(method: str, url: str, content: Any = None) -> httpx.Response:
    """Ask a server until it isn't busy any more."""
    while (answer := httpx.request(method, url, json=content, timeout=60)).status_code == BUSY:
        time.sleep(1)
    return answer.raise_for_status()


def set_state(api_url: str, run: str, kind: str, message: str = "") -> None:
    """Set the state of a flow run, whatever it was."""
    state = {"type": kind, "message": message}
    place = f"{api_url}/flow_runs/{run}/set_state"
    answer = httpx.post(place, json={"state": state, "force": True}, timeout=60).raise_for_status()
    assert answer.json()["status"] == "ACCEPT"


def states(api_url: str, run: str) -> list[str]:
    """Return the names of a flow run's states, oldest first."""
    place, asked = f"{api_url}/flow_run_states/", {"flow_run_id": run}
    return [state["name"] for state in httpx.get(place, params=asked, timeout=60).raise_for_status().json()]


def _home_of(process: psutil.Process) -> str | None:
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE
        return None if ended else process.environ().get("RNNPIPE_HOME")
    except psutil.Error:
        return None
