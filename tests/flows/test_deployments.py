"""A real Prefect server, brought in line with a file: twice is once, what left it is gone, news start runs."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from workspaces import ROOT, Done, Workspace, ask, remove_all, set_state, start_run, states, wait_for

from flows.announcements import EVENT
from flows.server import running_url
from rnnpipe.files import read_json

Change = Callable[[dict[str, Any]], object]
TAG = "managed:tests"
TO_START_S = 30.0


@pytest.fixture(scope="module")
def url(workspace: Workspace) -> str:
    return str(running_url(workspace.home))


@pytest.fixture(autouse=True, scope="module")
def _leave_nothing(url: str) -> Iterator[None]:
    """Remove what the tests deployed: its runs to come would be in the way of the other tests."""
    yield
    remove_all(url, "deployments")
    remove_all(url, "flow_runs", flow_runs={"tags": {"all_": [TAG]}})
    remove_all(url, "automations")


@pytest.fixture
def deploy(workspace: Workspace, call: Callable[..., Done]) -> Callable[..., list[str]]:
    """Return a function that deploys the shipped file, changed, and returns what was told."""

    def run(*changes: Change) -> list[str]:
        values = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
        values["name"] = "tests"
        for change in changes:
            change(values)
        path = workspace.folder / "prefect.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        done = call("deploy", "--file", path)
        assert done.code == 0, done.err
        return done.out.splitlines()

    return run


def changes_in(told: list[str]) -> list[str]:
    return [" ".join(line.split()) for line in told if not line.startswith("unchanged")]


def deployment(url: str, name: str) -> dict[str, Any]:
    (found,) = ask(url, "deployments/filter", deployments={"name": {"any_": [name]}})
    return found


def test_twice_is_once(url: str, deploy: Callable[..., list[str]]) -> None:
    first = deploy()
    assert "created   deployment retrain/retrain-nightly" in first
    assert [line for line in first if line.startswith("created")] == first
    before = ask(url, "deployments/filter"), ask(url, "automations/filter")
    assert changes_in(deploy()) == []
    assert (ask(url, "deployments/filter"), ask(url, "automations/filter")) == before
    pipeline = deployment(url, "pipeline")
    assert pipeline["parameter_openapi_schema"]["definitions"]["TrainingConfig"]["properties"]["epochs"]["minimum"]
    environment = pipeline["job_variables"]["env"]
    assert environment == {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}  # each worker has a workspace of its own


def test_a_schedule_brings_runs(url: str, deploy: Callable[..., list[str]]) -> None:
    """Prefect's own scheduler makes them, and fails with versions that don't fit."""
    deploy()
    nightly = deployment(url, "retrain-nightly")["id"]
    wait_for(lambda: ask(url, "flow_runs/filter", deployments={"id": {"any_": [nightly]}}), TO_START_S)


def test_what_left_the_file_is_removed_and_no_more(
    url: str, workspace: Workspace, deploy: Callable[..., list[str]]
) -> None:
    deploy()
    told = deploy(
        lambda values: values["deployments"][1].update(schedules=[{"slug": "hourly", "interval": 3600}]),
        lambda values: values["deployments"][2].update(triggers=[]),
        lambda values: values["deployments"].pop(3),
    )
    assert changes_in(told) == [
        "updated deployment retrain/retrain-nightly (schedule hourly added, schedule nightly removed)",
        "removed automation retrain/retrain-on-new-data: new-data (it is not in the file any more)",
        "removed deployment demos (it is not in the file any more)",
    ]
    (schedule,) = deployment(url, "retrain-nightly")["schedules"]
    assert schedule["slug"] == "hourly" and schedule["active"]
    assert {each["name"] for each in ask(url, "deployments/filter")} == {
        "pipeline", "retrain-nightly", "retrain-on-new-data",
    }  # fmt: skip
    none = deploy(lambda values: values["deployments"][1].update(schedules=[]))
    assert "updated deployment retrain/retrain-nightly (schedule hourly removed)" in changes_in(none)
    assert deployment(url, "retrain-nightly")["schedules"] == []


def test_a_changed_trigger_is_changed_on_the_server(url: str, deploy: Callable[..., list[str]]) -> None:
    deploy()

    def more(values: dict[str, Any]) -> None:
        values["deployments"][2]["triggers"][0]["expect"] = ["rnnpipe.dataset.*"]

    name = "automation retrain/retrain-on-new-data: new-data"
    assert changes_in(deploy(more)) == [f"updated {name}"]
    assert changes_in(deploy(more)) == []
    (trigger,) = (each["trigger"] for each in ask(url, "automations/filter") if each["name"] in name)
    assert trigger["expect"] == ["rnnpipe.dataset.*"]


def test_what_was_switched_off_on_the_page_stays_off(url: str, deploy: Callable[..., list[str]]) -> None:
    deploy()
    nightly = deployment(url, "retrain-nightly")
    place = f"{url}/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
    httpx.patch(place, json={"active": False}, timeout=30).raise_for_status()
    (restart,) = (each for each in ask(url, "automations/filter") if "start crashed" in each["name"])
    httpx.patch(f"{url}/automations/{restart['id']}", json={"enabled": False}, timeout=30).raise_for_status()
    assert changes_in(deploy()) == []
    later = deploy(lambda values: values["deployments"][1]["schedules"][0].update(cron="30 4 * * *"))
    assert changes_in(later) == ["updated deployment retrain/retrain-nightly (schedule nightly changed)"]
    assert not deployment(url, "retrain-nightly")["schedules"][0]["active"]
    on = deploy(lambda values: values["deployments"][1]["schedules"][0].update(active=True))
    assert changes_in(on) == ["updated deployment retrain/retrain-nightly (schedule nightly changed)"]
    assert deployment(url, "retrain-nightly")["schedules"][0]["active"]
    httpx.patch(f"{url}/automations/{restart['id']}", json={"enabled": True}, timeout=30).raise_for_status()


def test_a_work_pool_of_another_type_is_refused(url: str, workspace: Workspace, call: Any, deploy: Any) -> None:
    deploy()
    text = (workspace.folder / "prefect.yaml").read_text(encoding="utf-8")
    (workspace.folder / "other.yaml").write_text(text.replace("type: process", "type: docker"), encoding="utf-8")
    done = call("deploy", "--file", workspace.folder / "other.yaml")
    assert done.code == 6 and "the work pool rnnpipe on the server is of type process" in done.err
    pool = {"name": "elsewhere", "type": "docker", "base_job_template": {}}
    httpx.post(f"{url}/work_pools/", json=pool, timeout=30).raise_for_status()
    worker = call("worker", "--pool", "elsewhere")
    assert worker.code == 6 and "of type docker" in worker.err and "prefect worker start" in worker.err


def test_a_killed_run_is_started_again_and_a_failing_one_is_not(
    url: str, deploy: Callable[..., list[str]]
) -> None:
    deploy()
    killed, failing = (start_run(url, "demos", {}) for _ in range(2))
    for run, code in ((failing, 1), (killed, -9)):
        set_state(url, run, "RUNNING")
        set_state(url, run, "CRASHED", f"Process exited with status code: {code}. As it happens.")
    wait_for(lambda: states(url, killed)[-1] == "AwaitingRetry", TO_START_S)
    assert states(url, failing)[-1] == "Crashed"


def test_news_of_a_dataset_start_a_run_unless_the_flow_has_it(
    url: str, workspace: Workspace, call: Any, deploy: Callable[..., list[str]]
) -> None:
    deploy()
    retrain = deployment(url, "retrain-on-new-data")["id"]

    def runs() -> list[dict[str, Any]]:
        return ask(url, "flow_runs/filter", deployments={"id": {"any_": [retrain]}})

    time.sleep(1)  # the server has to have seen the trigger
    assert not runs()
    for used_by in ("retrain", "rnnpipe"):  # as a download tells it: of the first nothing comes
        event = {
            "id": str(uuid4()), "event": EVENT, "occurred": datetime.now(UTC).isoformat(), "payload": {},
            "resource": {"prefect.resource.id": "rnnpipe.dataset.digits", "rnnpipe.used-by": used_by},
        }  # fmt: skip
        httpx.post(f"{url}/events", json=[event], timeout=30).raise_for_status()
    wait_for(runs, TO_START_S)
    assert len(runs()) == 1
    done = call("announce", "digits", "--note", "600 more images")
    assert done.code == 0, done.err
    wait_for(lambda: len(runs()) == 2, TO_START_S)
    assert call("announce", "mnist").code == 0  # the trigger is about another dataset
    wrong = call("announce", "digitss")
    assert wrong.code == 2 and "did you mean digits?" in wrong.err
    assert len(runs()) == 2


@pytest.mark.usefixtures("first_run")
def test_a_download_is_told_once(url: str, call: Any, workspace: Workspace) -> None:
    """The first run of all brought the images into the store; the same again brings nothing new."""

    def told() -> list[dict[str, Any]]:
        asked = {"filter": {"event": {"name": [EVENT]}, "resource": {"labels": {"rnnpipe.used-by": ["rnnpipe"]}}}}
        answer = httpx.post(f"{url}/events/filter", json=asked, timeout=30).raise_for_status()
        return [event for event in answer.json()["events"] if "digest" in event["payload"]]

    wait_for(told, TO_START_S)
    apart = {"tracking": {"experiment": "again"}, "registry": {"register_model": False}}
    assert call("run", workspace.config("again", **apart)).code == 0
    (event,) = told()
    (dataset,) = workspace.home.glob("store/datasets/*/manifest.json")
    assert event["payload"]["digest"] == read_json(dataset)["digest"] and event["payload"]["dataset"] == "digits"


def test_without_a_server_it_says_how_to_get_one(workspace: Workspace, call: Any, tmp_path: Path) -> None:
    for command in ("deploy", "worker", ("announce", "digits")):
        arguments = (command,) if isinstance(command, str) else command
        done = call(*arguments, environment={"RNNPIPE_HOME": str(tmp_path / "empty")})
        assert done.code == 6 and "no Prefect server is up" in done.err and "rnnpipe up" in done.err
    gone = call("deploy", environment={"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert gone.code == 6 and "no Prefect server answers at http://127.0.0.1:9/api" in gone.err
