"""The tutorials' demos as a flow; and a Prefect server that PREFECT_API_URL names."""

from typing import Any

import httpx
import pytest
from workspaces import Workspace, ask

from flows.server import running_url
from rnnpipe.models.demos import run_demos
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking


def test_demos_are_tracked_once(workspace: Workspace, call: Any) -> None:
    for _ in range(2):
        done = call("demos")
        assert done.code == 0, done.err
        assert "Y0 =" in done.out and "Y1 =" in done.out and "agrees" in done.out
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "recurrence-demos", workspace.home)
    runs = tracking.client.search_runs([tracking.experiment_id])
    assert sorted(run.info.run_name for run in runs) == sorted(report.name for report in run_demos(0))
    for run in runs:
        assert run.info.status == "FINISHED" and run.data.metrics["parity/agrees"] == 1
        assert run.data.metrics["parity/largest_difference"] < 1e-6
        assert [file.path for file in tracking.client.list_artifacts(run.info.run_id)] == ["report.json"]


def test_a_named_prefect_server_is_used_and_left_alone(workspace: Workspace, call: Any) -> None:
    url = running_url(workspace.home)
    assert url is not None
    before = len(ask(url, "flow_runs/filter"))
    another = str(workspace.folder / "another")
    done = call("demos", environment={"PREFECT_API_URL": url, "RNNPIPE_HOME": another})
    assert done.code == 0, done.err
    assert len(ask(url, "flow_runs/filter")) == before + 1
    assert httpx.get(f"{url}/health").is_success and running_url(workspace.home) == url


def test_without_the_named_prefect_server_the_same_is_done_and_it_is_said(call: Any) -> None:
    done = call("demos", environment={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert done.code == 0 and "agrees" in done.out
    assert "no Prefect server answers at http://127.0.0.1:9/api" in done.err
    assert "the run goes on without Prefect" in done.err and "unset PREFECT_API_URL" in done.err


@pytest.mark.usefixtures("call")
def test_prefects_form_has_the_sections_of_the_config() -> None:
    from flows.pipeline import pipeline

    schema = pipeline.parameters.model_dump()
    assert set(schema["properties"]) == {
        "name", "data", "sequence", "variants", "seeds", "sweep",
        "training", "execution", "evaluation", "tracking", "registry",
    }  # fmt: skip
    assert schema["required"] == ["variants"]
    for section in ("DataConfig", "TrainingConfig", "VariantConfig", "RegistryConfig"):
        fields = schema["definitions"][section]["properties"]
        assert all(field.get("description") for field in fields.values()), section


def test_a_server_that_is_kept_stays_the_same(workspace: Workspace, call: Any) -> None:
    url = running_url(workspace.home)
    done = call("up")
    assert done.code == 0 and f"export PREFECT_API_URL={url}" in done.out
