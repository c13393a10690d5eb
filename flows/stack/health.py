"""Whether a service does its work: asked as its clients ask, with their login and the name they call it by.

The servers' own health pages answer without a login and under every name, also while all clients are refused.
"""

import subprocess

import httpx

from flows.stack.places import Places
from flows.stack.secret_files import USER, read_secret
from flows.stack.services import POSTGRES_READY, SERVICES, filled
from rnnpipe.errors import ServiceError

TIMEOUT_S = 5.0
MLFLOW_NAME = "mlflow:5000"  # in containers


def check_health(name: str, places: Places) -> None:
    """Return if a service does its work; ServiceError if not."""
    try:
        CHECKS[name](places)
    except (httpx.HTTPError, OSError) as error:
        raise ServiceError(f"{name} isn't well: {error}", "see its output") from error


def _ask_postgres(places: Places) -> None:
    from flows.stack.postgres import program

    ready, *arguments = (filled(part, places) for part in POSTGRES_READY)
    done = subprocess.run([program(ready), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"Postgres isn't well: {done.stdout.strip()}", "see its output")


def _ask_prefect(places: Places) -> None:
    address = f"http://{places.asked}:{places.port_of('prefect')}/api/admin/version"
    httpx.get(address, auth=_login(places), timeout=TIMEOUT_S).raise_for_status()


def _ask_mlflow(places: Places) -> None:
    address = f"http://{places.asked}:{places.port_of('mlflow')}/api/2.0/mlflow/experiments/search"
    auth = (USER, read_secret(places.secrets, "mlflow_password"))
    for host in (places.mlflow, places.mlflow_host, MLFLOW_NAME):
        answer = httpx.get(
            address, params={"max_results": 1}, auth=auth, headers={"Host": host}, timeout=TIMEOUT_S
        )
        answer.raise_for_status()


def _ask_worker(places: Places) -> None:
    """Ask Prefect whether a worker has told lately that it is there; of several, one is enough."""
    with httpx.Client(base_url=f"http://{places.prefect}/api", auth=_login(places), timeout=TIMEOUT_S) as client:
        for pool in client.post("/work_pools/filter", json={}).raise_for_status().json():
            workers = client.post(f"/work_pools/{pool['name']}/workers/filter", json={})
            if any(worker["status"] == "ONLINE" for worker in workers.raise_for_status().json()):
                return
    raise ServiceError("no worker is online", "see its output")


def _login(places: Places) -> tuple[str, str]:
    user, _, password = read_secret(places.secrets, "prefect_login").partition(":")
    return user, password


CHECKS = {"postgres": _ask_postgres, "prefect": _ask_prefect, "mlflow": _ask_mlflow, "worker": _ask_worker}
assert CHECKS.keys() == {name for name, service in SERVICES.items() if not service.ends}
