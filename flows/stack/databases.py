"""The users and databases of Prefect and MLflow in Postgres: made where they aren't, passwords brought up to date.

Run with -m in the environment of the service `databases`.
"""

import os

import psycopg
from psycopg import sql

from flows.stack.places import places_of_environment
from rnnpipe.store import workspace_root

DATABASES = {"prefect": ("prefect",), "mlflow": ("mlflow", "mlflow_logins")}  # user → what it owns


def make_databases(address: str) -> None:
    """Bring users, passwords and databases up to date, any number of times."""
    host, _, port = address.rpartition(":")
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres", autocommit=True) as connection:
        for user, databases in DATABASES.items():
            password = os.environ[f"{user.upper()}_DATABASE_PASSWORD"]
            # hashed on this side: statements may be logged
            hashed = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone()
            role = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(role.format(sql.Identifier(user), hashed.decode()))
            for name in databases:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                    owned = sql.SQL("CREATE DATABASE {} OWNER {}")
                    connection.execute(owned.format(sql.Identifier(name), sql.Identifier(user)))


if __name__ == "__main__":
    make_databases(places_of_environment(workspace_root()).postgres)
