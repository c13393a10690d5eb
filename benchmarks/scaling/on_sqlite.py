"""MLflow and Prefect on SQLite files: what a workspace has without the stack."""

from collections.abc import Iterator
from typing import Any

from benchmarks.scaling.asked_of_mlflow import ask_comparison, ask_to_log
from benchmarks.scaling.asked_of_prefect import ask_newest, ask_to_create, make_flow
from benchmarks.scaling.crowd import crowd_rows
from benchmarks.scaling.measuring import Case, Setting, mlflow_cases, prefect_cases
from benchmarks.scaling.servers import mlflow_server, prefect_server, server_environment
from benchmarks.scaling.sinks import SqliteSink
from benchmarks.scaling.tracked import run_uuid
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking

BACKEND = "SQLite"


def mlflow_sqlite_cases(setting: Setting, crowds: list[dict[str, Any]]) -> Iterator[Case]:
    """Yield the cases of MLflow's file; `crowds` gets what many clients at once got at the largest size."""
    folder, sizes = setting.folder / "sqlite", setting.sizes
    folder.mkdir()
    path, environment = folder / "mlflow.db", server_environment()
    open_tracking(sqlite_uri(path), None, folder)  # makes the tables
    with mlflow_server(sqlite_uri(path), folder, environment) as page:
        last: Case = {}
        for last in mlflow_cases(
            setting, backend=BACKEND, uri=sqlite_uri(path), page=page, sink=SqliteSink(path), sizes=sizes.sqlite
        ):
            yield last
        runs = [run_uuid(number) for number in range(max(sizes.clients))]
        asked = {"comparison": ask_comparison(last["experiment_id"]), "log 6 points": ask_to_log(runs)}
        named = {"part": "mlflow", "backend": BACKEND, "size": sizes.sqlite[-1]}
        crowds.extend(crowd_rows([page], asked, sizes.clients, sizes.crowd_s, **named))


def prefect_sqlite_cases(setting: Setting, crowds: list[dict[str, Any]]) -> Iterator[Case]:
    """Yield the cases of Prefect's file; `crowds` gets what many clients at once got at the largest size."""
    folder, sizes = setting.folder / "prefect", setting.sizes
    database = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
    with prefect_server(database, folder, server_environment()) as address:
        flow_id = make_flow(address)
        yield from prefect_cases(
            setting, backend=BACKEND, address=address, flow_id=flow_id, sink=SqliteSink(folder / "prefect.db"),
            sizes=sizes.sqlite,
        )  # fmt: skip
        asked = {"newest flow runs": ask_newest, "create a flow run": ask_to_create(flow_id)}
        named = {"part": "prefect", "backend": BACKEND, "size": sizes.sqlite[-1]}
        crowds.extend(crowd_rows([address], asked, sizes.clients, sizes.crowd_s, **named))
