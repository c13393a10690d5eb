"""Every service of the stack, once: what it runs, with which settings and secrets, after which others.

`docker/compose.yaml` starts them in containers and `rnnpipe stack up` without; both name a service, and what
stands here is run. {…} are fields of `Places`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.environment import DEFAULTS
from flows.stack.places import Places
from flows.stack.secret_files import USER
from rnnpipe.tracking.page import LEAN

POSTGRES_READY = ("pg_isready", "--host", "{asked}", "--port", "{postgres_port}")
MLFLOW_DATABASE = "postgresql+psycopg://mlflow@{postgres}/mlflow"  # the password comes as PGPASSWORD
MLFLOW_LOGINS = f"""\
[mlflow]
default_permission = READ
database_uri = {MLFLOW_DATABASE}_logins
admin_username = {USER}
# else each call hashes the password anew, which takes a quarter of a second
auth_cache_ttl_seconds = 60
"""
CLIENT = {
    "PREFECT_API_URL": "http://{prefect}/api",
    "PREFECT_UI_URL": "{prefect_page}",
    "MLFLOW_TRACKING_URI": "http://{mlflow}",
    "MLFLOW_TRACKING_USERNAME": USER,
}
CLIENT_SECRETS = {"PREFECT_API_AUTH_STRING": "prefect_login", "MLFLOW_TRACKING_PASSWORD": "mlflow_password"}


@dataclass(frozen=True)
class Service:
    """A process of the stack; one that `ends` has done its work when it exits with 0."""

    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)  # environment variable → name of the secret
    files: Mapping[str, str] = field(default_factory=dict)  # written before it starts
    after: tuple[str, ...] = ()
    ends: bool = False
    patience_s: int = 30  # from being asked to end until it is killed


SERVICES = {
    "postgres": Service(  # in containers, the official image does the same
        command=("{python}", "-m", "flows.stack.postgres"),
        secrets={"POSTGRES_PASSWORD": "postgres_password"},
    ),
    "databases": Service(
        command=("{python}", "-m", "flows.stack.databases"),
        secrets={
            "PGPASSWORD": "postgres_password",
            "PREFECT_DATABASE_PASSWORD": "prefect_database_password",
            "MLFLOW_DATABASE_PASSWORD": "mlflow_database_password",
        },
        after=("postgres",),
        ends=True,
    ),
    "prefect": Service(
        command=(
            "{python}", "-m", "prefect", "server", "start", "--host", "{listen}", "--port", "{prefect_port}",
        ),
        settings={
            **DEFAULTS,
            "PREFECT_HOME": "{folder}/prefect",  # the leases of limits have to survive a restart
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect@{postgres}/prefect",
            # seconds, not the usual 5 and 10: beside trainings an answer can take longer
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "30",
            "PREFECT_SERVER_DATABASE_TIMEOUT": "30",
            "PREFECT_UI_API_URL": "{prefect_page}/api",
            # else it writes them beside its code, which is read-only in a container
            "PREFECT_UI_STATIC_DIRECTORY": "{folder}/prefect/pages",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "{prefect_page}",
        },
        secrets={
            "PGPASSWORD": "prefect_database_password",
            "PREFECT_SERVER_API_AUTH_STRING": "prefect_login",
        },
        after=("databases",),
    ),
    "mlflow-upgrade": Service(  # a server refuses to start on the tables of an older MLflow
        command=("{python}", "-m", "flows.stack.tracking_tables"),
        secrets={"PGPASSWORD": "mlflow_database_password"},
        after=("databases",),
        ends=True,
    ),
    "mlflow": Service(
        command=(
            "{python}", "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
            "--host", "{listen}", "--port", "{mlflow_port}",
            # what clients call it, with any port; all others are refused, as DNS rebinding would come that way
            "--allowed-hosts", "mlflow:*,localhost:*,127.0.0.1:*,{mlflow_host}",
            "--cors-allowed-origins", "{mlflow_page}",
            "--backend-store-uri", MLFLOW_DATABASE, "--artifacts-destination", "{folder}/mlflow/artifacts",
            "--uvicorn-opts", "--no-access-log",
        ),
        settings={**LEAN, "MLFLOW_AUTH_CONFIG_PATH": "{folder}/mlflow/logins.ini"},
        secrets={
            "PGPASSWORD": "mlflow_database_password",
            # used at the first start; later it is changed through MLflow's API, and then in the file
            "MLFLOW_AUTH_ADMIN_PASSWORD": "mlflow_password",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "mlflow_form_key",
        },
        files={"{folder}/mlflow/logins.ini": MLFLOW_LOGINS},
        after=("mlflow-upgrade",),
    ),
    "deploy": Service(
        command=("{python}", "-m", "rnnpipe", "deploy"),
        settings=CLIENT,
        secrets=CLIENT_SECRETS,
        after=("prefect",),
        ends=True,
    ),
    "worker": Service(
        command=("{python}", "-m", "rnnpipe", "worker"),
        settings=CLIENT,
        secrets=CLIENT_SECRETS,
        after=("deploy", "mlflow"),
        patience_s=75,  # its runs get a minute for a last checkpoint
    ),
}  # fmt: skip


def filled(template: str, places: Places) -> str:
    """Return a text with the places in it."""
    own = {"python": sys.executable, "asked": places.asked, "mlflow_host": places.mlflow_host}
    values: dict[str, Any] = {**vars(places), **own}
    ports = {f"{name}_port": places.port_of(name) for name in ("postgres", "prefect", "mlflow")}
    return template.format_map(values | ports)
