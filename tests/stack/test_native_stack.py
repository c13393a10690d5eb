"""The whole stack without containers, driven as its users do; run it with -m slow."""

import base64
import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
import yaml
from stack_helpers import ROOT, Stack, needs_postgres, new_stack
from workspaces import TINY, wait_for

from flows.stack.databases import DATABASES
from flows.stack.health import MLFLOW_NAME
from flows.stack.postgres import program
from flows.stack.secret_files import USER
from flows.stack.services import SERVICES

pytestmark = [needs_postgres, pytest.mark.slow, pytest.mark.timeout(1800)]

RUN_TIMEOUT_S = 600.0
NEW_DATA = "retrain-on-new-data"
MIRROR_PASSWORD = "a-mirror-s-own-password"  # noqa: S105 (it has to be found nowhere)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The running stack, with small deployments; every secret of it is known."""
    with new_stack() as stack:
        stack.known_secrets()
        stack.workspace.environment["RNNPIPE_MIRRORS"] = f"https://me:{MIRROR_PASSWORD}@127.0.0.1:9/"
        values = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
        for deployment in values["deployments"]:
            if "parameters" in deployment:
                deployment["parameters"] = TINY
        (stack.folder / "prefect.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        begun_s = time.monotonic()
        with stack.running():
            print(f"\n{stack.told()}{time.monotonic() - begun_s:.1f} s until the stack was up")
            yield stack
            begun_s = time.monotonic()
        print(f"{time.monotonic() - begun_s:.1f} s until it was gone")


def addresses(stack: Stack) -> dict[str, str]:
    client = stack.client
    return {
        "prefect": f"{client['PREFECT_API_URL']}/admin/version",
        "mlflow": f"{client['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=1",
    }


def logins(stack: Stack) -> dict[str, tuple[str, str]]:
    user, _, password = stack.secret("prefect_login").partition(":")
    return {"prefect": (user, password), "mlflow": (USER, stack.secret("mlflow_password"))}


def ask_prefect(stack: Stack, what: str, **content: Any) -> Any:
    url = f"{stack.client['PREFECT_API_URL']}/{what}"
    answer = httpx.post(url, json=content, auth=logins(stack)["prefect"], timeout=30)
    return answer.raise_for_status().json()


# ---- logins and names


@pytest.mark.parametrize("server", ["prefect", "mlflow"])
def test_nobody_gets_in_without_the_login(stack: Stack, server: str) -> None:
    address, (user, password) = addresses(stack)[server], logins(stack)[server]
    assert httpx.get(address).status_code == 401
    for wrong in ("", "password1234", password[:-1]):
        assert httpx.get(address, auth=(user, wrong)).status_code == 401
    assert httpx.get(address, auth=(user, password)).status_code == 200


def test_mlflow_answers_under_its_names_only(stack: Stack) -> None:
    port = stack.ports["mlflow"]
    for host, status in {
        MLFLOW_NAME: 200, f"127.0.0.1:{port}": 200, f"localhost:{port}": 200, "evil.example:5000": 403,
    }.items():  # fmt: skip
        answer = httpx.get(addresses(stack)["mlflow"], auth=logins(stack)["mlflow"], headers={"Host": host})
        assert answer.status_code == status, host


@pytest.mark.parametrize("name", [name for name in SERVICES if not SERVICES[name].ends])
def test_the_health_check_asks_as_clients_do(stack: Stack, name: str) -> None:
    places = {f"RNNPIPE_{server.upper()}": f"127.0.0.1:{port}" for server, port in stack.ports.items()}
    done = stack.rnnpipe("stack", "health", "--name", name, environment=places)
    assert (done.code, done.out) == (0, f"{name} is well\n"), done.err
    if name == "mlflow":  # its own health page would still say OK
        refused = {**places, "RNNPIPE_MLFLOW": f"evil.example:{stack.ports['mlflow']}"}
        done = stack.rnnpipe("stack", "health", "--name", name, environment=refused)
        assert done.code == 6 and "403" in done.err


def test_a_login_is_checked_once_a_minute_and_not_at_each_call(stack: Stack) -> None:
    user, password = logins(stack)["mlflow"]
    address = addresses(stack)["mlflow"]

    def median_ms(login: tuple[str, str]) -> float:
        times_ms = []
        with httpx.Client(auth=login) as client:
            for _ in range(15):
                begun_s = time.perf_counter()
                client.get(address)
                times_ms.append((time.perf_counter() - begun_s) * 1000)
        return statistics.median(times_ms)

    known_ms, hashed_ms = median_ms((user, password)), median_ms((user, "what is refused is hashed each time"))
    print(f"\na call to MLflow: {known_ms:.1f} ms; with the password hashed: {hashed_ms:.1f} ms")
    assert known_ms < hashed_ms / 3


def test_it_listens_on_loopback_only(stack: Stack) -> None:
    places = [each for process in stack.processes() for each in process.net_connections("inet")]
    listening = {(place.laddr.ip, place.laddr.port) for place in places if place.status == psutil.CONN_LISTEN}
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert set(stack.ports.values()) <= {port for _, port in listening}


# ---- runs


def deployment(stack: Stack, name: str) -> str:
    (found,) = ask_prefect(stack, "deployments/filter", deployments={"name": {"any_": [name]}})
    return str(found["id"])


def runs_of(stack: Stack, name: str) -> list[dict[str, Any]]:
    one = {"deployment_id": {"any_": [deployment(stack, name)]}, "state": {"type": {"not_any_": ["SCHEDULED"]}}}
    runs: list[dict[str, Any]] = ask_prefect(stack, "flow_runs/filter", flow_runs=one)
    return runs


def trigger(stack: Stack, deployed: str, **parameters: Any) -> dict[str, Any]:
    """Run a deployment to its end, and tell how long that took."""
    begun_s = time.monotonic()
    run = ask_prefect(stack, f"deployments/{deployment(stack, deployed)}/create_flow_run", parameters=parameters)

    def ended() -> dict[str, Any] | None:
        (now,) = ask_prefect(stack, "flow_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        return now if now["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    wait_for(ended, RUN_TIMEOUT_S)
    print(f"\n{deployed}: {time.monotonic() - begun_s:.1f} s from trigger to end")
    return ended() or {}


def test_what_a_run_by_hand_has_downloaded_starts_the_retraining_which_moves_the_champion(stack: Stack) -> None:
    done = stack.rnnpipe("run", stack.workspace.config("by-hand", registry={"register_model": False}))
    assert done.code == 0, done.out + done.err
    assert "without Prefect" not in done.err
    by_hand = [run for run in ask_prefect(stack, "flow_runs/filter") if run["deployment_id"] is None]
    assert [run["state"]["type"] for run in by_hand] == ["COMPLETED"]
    wait_for(lambda: [run["state"]["name"] for run in runs_of(stack, NEW_DATA)] == ["Completed"], RUN_TIMEOUT_S)
    (versions,) = json.loads(stack.rnnpipe("champions", "--json").out).values()
    assert [(each["version"], each["aliases"]) for each in versions] == [(1, ["champion"])]
    done = stack.rnnpipe("doctor")
    assert done.code == 0, done.out


def test_the_deployed_retraining_skips_and_says_why_until_something_changes(stack: Stack) -> None:
    longer = {"training": {**TINY["training"], "epochs": 3}}
    for parameters, name in (({}, "Skipped"), (longer, "Completed"), (longer, "Skipped")):
        ended = trigger(stack, "retrain-nightly", **parameters)
        assert ended["state"]["name"] == name, ended["state"]
        told = ended["state"]["message"] or ""
        assert ("same images, config and code as models:/digits-rows/" in told) == (name == "Skipped")


def test_news_of_a_dataset_start_a_run(stack: Stack) -> None:
    before = len(runs_of(stack, NEW_DATA))
    done = stack.rnnpipe("announce", "digits")
    assert done.code == 0, done.err
    wait_for(lambda: len(runs_of(stack, NEW_DATA)) > before, 120)


# ---- secrets; last, when everything has left its traces


def needles(stack: Stack) -> dict[str, bytes]:
    """Return what may be found nowhere: each secret, and each login as it is sent."""
    found = {name: secret.encode() for name, secret in stack.known_secrets().items()}
    for server, (user, password) in logins(stack).items():
        found[f"{server} header"] = base64.b64encode(f"{user}:{password}".encode())
    return {**found, "mirror": MIRROR_PASSWORD.encode()}


def dumps(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Yield all that stands in the databases, as text."""
    environment = {**os.environ, "PGPASSWORD": stack.secret("postgres_password")}
    for database in [name for names in DATABASES.values() for name in names]:
        command = [
            program("pg_dump"), "--host", "127.0.0.1", "--port", str(stack.ports["postgres"]),
            "--username", "postgres", "--inserts", database,
        ]  # fmt: skip
        yield database, subprocess.run(command, env=environment, capture_output=True, check=True).stdout


def test_no_secret_stands_anywhere_but_in_its_file(stack: Stack) -> None:
    found, looked_at = [], 0
    sources = [(database, content) for database, content in dumps(stack)]
    assert b"by-hand" in dict(sources)["prefect"]
    assert b"train/loss" in dict(sources)["mlflow"]
    sources += [(process.name(), " ".join(process.cmdline()).encode()) for process in stack.processes()]
    paths = [path for path in stack.folder.rglob("*") if path.is_file() and path.parent != stack.secrets]
    for path in paths:
        try:
            sources.append((str(path), path.read_bytes()))
        except FileNotFoundError:  # Postgres and Prefect go on working
            continue
    for name, content in sources:
        looked_at += 1
        found += [f"{secret} in {name}" for secret, needle in needles(stack).items() if needle in content]
    print(f"\n{looked_at} files, dumps and command lines looked at")
    assert found == []
    assert {"output.log", "MLmodel"} <= {path.name for path in paths}


def test_the_scan_would_find_a_secret(stack: Stack) -> None:
    leak = stack.folder / "leak.log"
    leak.write_bytes(b"password: " + needles(stack)["mlflow_password"])
    with pytest.raises(AssertionError, match=r"mlflow_password in .*leak\.log"):
        test_no_secret_stands_anywhere_but_in_its_file(stack)
    leak.unlink()
