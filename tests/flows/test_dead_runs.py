"""Flow runs whose process died: closed, with their tasks, unless they have been started again since."""

from typing import Any

import httpx
import pytest
from workspaces import Workspace, ask, set_state

from flows.server import running_url


@pytest.mark.usefixtures("call")
def test_a_dead_attempt_is_closed_but_not_the_one_after_it(workspace: Workspace) -> None:
    from flows.ghosts import close_dead_runs

    url = str(running_url(workspace.home))
    flow = post(url, "flows/", name="dead-runs")["id"]
    run = post(url, "flow_runs/", flow_id=flow, name="killed", state={"type": "PENDING"})["id"]
    lock = workspace.home / "prefect" / "runs" / f"{run}.1.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)

    def found() -> tuple[str, int]:
        (flow_run,) = ask(url, "flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        return flow_run["state_type"], flow_run["run_count"]

    set_state(url, run, "RUNNING")
    lock.touch()
    close_dead_runs(workspace.home)
    assert found() == ("CRASHED", 1) and not lock.exists()

    for state in ("SCHEDULED", "RUNNING"):  # Prefect starts it again
        set_state(url, run, state)
        lock.touch()
        close_dead_runs(workspace.home)
        assert found()[0] == state and not lock.exists()
    lock.with_name(f"{run}.2.lock").touch()
    close_dead_runs(workspace.home)
    assert found() == ("CRASHED", 2)

    set_state(url, run, "RUNNING")
    set_state(url, run, "CANCELLING")
    lock.with_name(f"{run}.3.lock").touch()
    close_dead_runs(workspace.home)
    assert found()[0] == "CANCELLED"  # a crash would be started again


def post(url: str, what: str, **values: Any) -> dict[str, Any]:
    made: dict[str, Any] = httpx.post(f"{url}/{what}", json=values, timeout=30).raise_for_status().json()
    return made
