"""What runs and people ask of Prefect's API, as actions, and as requests of many at once."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.scaling.timing import Action

TIMEOUT_S = 120.0
PAGE = 20
NEWEST = {"limit": PAGE, "page": 1, "sort": "START_TIME_DESC"}
FAILED = {**NEWEST, "flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}
STATES = ("PENDING", "RUNNING", "COMPLETED")


@dataclass(frozen=True)
class AskedOfPrefect:
    """A Prefect server with `size` synthetic flow runs of a flow."""

    address: str
    flow_id: str
    size: int
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def client(self) -> httpx.Client:
        """Return a client of the API, to be closed by who asked for it."""
        return httpx.Client(base_url=f"{self.address}/api", timeout=TIMEOUT_S)

    def actions(self, client: httpx.Client) -> dict[str, Action]:
        """Return the actions by what they are called on the page."""
        named = {**NEWEST, "flow_runs": {"name": {"like_": f"synthetic-{self.size // 2}"}}}
        return {
            "create a flow run": lambda: self.create(client),
            "create one and set its three states": lambda: self.live(client),
            f"newest {PAGE} flow runs": lambda: _post(client, "/flow_runs/paginate", NEWEST),
            f"newest {PAGE} that failed": lambda: _post(client, "/flow_runs/paginate", FAILED),
            "flow runs by a part of their name": lambda: _post(client, "/flow_runs/paginate", named),
            "task runs of a flow run": lambda: self.read_tasks(client),
            "count all task runs": lambda: _post(client, "/task_runs/count", {}),
        }

    def create(self, client: httpx.Client) -> str:
        """Let a new flow run be, and return its id."""
        body = {"flow_id": self.flow_id, "name": f"new-{next(self.numbers)}", "parameters": {}, "tags": ["new"]}
        return str(_post(client, "/flow_runs/", body)["id"])

    def live(self, client: httpx.Client) -> None:
        """Let a flow run begin and end."""
        run = self.create(client)
        for state in STATES:
            _post(client, f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": False})

    def read_tasks(self, client: httpx.Client) -> None:
        """Read the task runs of one of the newest flow runs."""
        (run, *_) = _post(client, "/flow_runs/paginate", {**NEWEST, "limit": 1})["results"]
        found = _post(client, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        assert isinstance(found, list)

    def check(self, tasks: int) -> None:
        """Raise AssertionError unless Prefect gives some of the synthetic runs as they were written."""
        with self.client() as client:
            for number in {0, self.size // 2, self.size - 1}:
                asked = {"flow_runs": {"name": {"any_": [f"synthetic-{number}"]}}}
                (run,) = _post(client, "/flow_runs/filter", asked)
                assert run["flow_id"] == self.flow_id and run["state"]["id"] == run["state_id"]
                found = _post(client, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
                assert len(found) == tasks and all(each["state"] for each in found)


def make_flow(address: str) -> str:
    """Let there be a flow, and return its id."""
    with httpx.Client(base_url=f"{address}/api", timeout=TIMEOUT_S) as client:
        return str(_post(client, "/flows/", {"name": "pipeline"})["id"])


def ask_newest(client: httpx.Client, number: int) -> httpx.Response:
    """Ask what a person's page asks: the newest flow runs."""
    return client.post("/api/flow_runs/paginate", json=NEWEST)


def ask_to_create(flow_id: str) -> Any:
    """Return what a run asks at its start: to create a flow run."""

    def ask(client: httpx.Client, number: int) -> httpx.Response:
        return client.post("/api/flow_runs/", json={"flow_id": flow_id, "parameters": {}})

    return ask


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, json=body)
    answer.raise_for_status()
    return answer.json()
