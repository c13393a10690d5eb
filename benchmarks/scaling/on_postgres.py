"""MLflow and Prefect on Postgres, as the stack has them; and what settings change at the largest size."""

import contextlib
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from benchmarks.scaling.asked_of_mlflow import Asked, ask_comparison, ask_to_log
from benchmarks.scaling.asked_of_prefect import ask_newest, ask_to_create, make_flow
from benchmarks.scaling.copying import PostgresSink
from benchmarks.scaling.crowd import crowd_rows
from benchmarks.scaling.measuring import (
    BESIDE,
    SYNTHETIC,
    Case,
    Setting,
    attempt,
    case_of,
    mlflow_cases,
    prefect_cases,
)
from benchmarks.scaling.servers import (
    Postgres,
    mlflow_server,
    prefect_server,
    prefect_services,
    redis_server,
)
from benchmarks.scaling.settings import INDEX, POOL, WORK_MEMORY, redis_settings
from benchmarks.scaling.template import Template
from benchmarks.scaling.tracked import run_uuid
from rnnpipe.tracking.client import open_tracking

BACKEND = "Postgres"
Crowds = list[dict[str, Any]]


def postgres_cases(setting: Setting, cases: list[Case], crowds: Crowds) -> list[str]:
    """Add the cases of Postgres and what many clients got; return what was left out, in words."""
    folder = setting.folder / "postgres"
    folder.mkdir()
    postgres = Postgres(folder)
    with postgres.running():
        return [
            *attempt("MLflow on Postgres", lambda: _mlflow(setting, postgres, cases, crowds)),
            *attempt("Prefect on Postgres", lambda: _prefect(setting, postgres, cases, crowds)),
        ]


def _mlflow(setting: Setting, postgres: Postgres, cases: list[Case], crowds: Crowds) -> None:
    uri, folder, environment = postgres.address("psycopg", "mlflow"), postgres.folder, postgres.environment
    sink = PostgresSink(postgres.port, "mlflow", postgres.password)
    sizes = setting.sizes
    with mlflow_server(uri, folder, environment) as page:
        cases += mlflow_cases(setting, backend=BACKEND, uri=page, page=page, sink=sink, sizes=sizes.postgres)
        experiment_id = cases[-1]["experiment_id"]
        crowds += _mlflow_crowd(setting, "1 worker", page, experiment_id)
    sink.execute(INDEX)
    with mlflow_server(uri, folder, environment) as page:
        cases.append(_asked_again(setting, "index on two tags", page))
    sink.execute(WORK_MEMORY)
    with mlflow_server(uri, folder, environment) as page:
        cases.append(_asked_again(setting, "and work_mem 64 MB", page))
    with mlflow_server(uri, folder, environment, 2) as page:
        crowds += _mlflow_crowd(setting, "2 workers", page, experiment_id)
    with mlflow_server(uri, folder, environment, 4, **POOL) as page:
        crowds += _mlflow_crowd(setting, "4 workers, pool of 20 + 40", page, experiment_id)


def _asked_again(setting: Setting, how: str, page: str) -> Case:
    """Ask at the largest size what the settings could change."""
    tracking, beside = (
        open_tracking(page, name, setting.folder / f"client {how}") for name in (SYNTHETIC, BESIDE)
    )
    size = setting.sizes.postgres[-1]
    asked = Asked(tracking, beside, size, setting.template, _model(setting.template))
    actions = {**asked.steps_of_a_training(), **asked.reading()}
    return case_of("mlflow setting", f"{BACKEND}: {how}", size, actions, setting.sizes.rounds)


def _mlflow_crowd(setting: Setting, how: str, page: str, experiment_id: str) -> Iterator[dict[str, Any]]:
    sizes = setting.sizes
    runs = [run_uuid(number) for number in range(max(sizes.clients))]
    asked = {"comparison": ask_comparison(experiment_id), "log 6 points": ask_to_log(runs)}
    named = {"part": "mlflow", "backend": f"{BACKEND}: {how}", "size": sizes.postgres[-1]}
    yield from crowd_rows([page], asked, sizes.clients, sizes.crowd_s, **named)


def _prefect(setting: Setting, postgres: Postgres, cases: list[Case], crowds: Crowds) -> None:
    database, sizes = postgres.address("asyncpg", "prefect"), setting.sizes
    folder, environment = postgres.folder, postgres.environment
    sink = PostgresSink(postgres.port, "prefect", postgres.password)
    with prefect_server(database, folder / "prefect", environment) as address:
        flow_id = make_flow(address)
        cases += prefect_cases(
            setting, backend=BACKEND, address=address, flow_id=flow_id, sink=sink, sizes=sizes.postgres
        )
        crowds += _prefect_crowd(setting, "1 server", [address], flow_id)
    redis = shutil.which("redis-server")
    if redis is None or find_spec("prefect_redis") is None:
        raise LookupError("two servers need redis-server and prefect-redis")
    with contextlib.ExitStack() as stack:
        broker = redis_settings(stack.enter_context(redis_server(redis, folder)))
        addresses = [
            stack.enter_context(
                prefect_server(database, folder / f"prefect {number}", environment, ["--no-services"], **broker)
            )
            for number in range(2)
        ]
        stack.enter_context(prefect_services(database, folder / "services", environment, broker))
        crowds += _prefect_crowd(setting, "2 servers, Redis", addresses, flow_id)


def _prefect_crowd(setting: Setting, how: str, addresses: list[str], flow_id: str) -> Iterator[dict[str, Any]]:
    """Yield what clients got, who are spread over the servers."""
    sizes = setting.sizes
    asked = {"newest flow runs": ask_newest, "create a flow run": ask_to_create(flow_id)}
    named = {"part": "prefect", "backend": f"{BACKEND}: {how}", "size": sizes.postgres[-1]}
    yield from crowd_rows(addresses, asked, sizes.clients, sizes.crowd_s, **named)


def _model(template: Template) -> str:
    return str(template.mlflow["model_versions"][0]["name"])
