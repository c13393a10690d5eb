"""MLflow's tables in Postgres: brought up to date, with an index on the tags by which rnnpipe finds runs.

Without it, each search for a training reads one tag of every run (docs/SCALE.md). MLflow's own migrations don't
know the index; should one drop it, the next start makes it again. Run with -m in the environment of the service
`mlflow-upgrade`.
"""

import subprocess
import sys

from flows.stack.places import places_of_environment
from flows.stack.services import MLFLOW_DATABASE
from rnnpipe.store import workspace_root

# values of other tags may be longer than an index takes
INDEX = (
    "CREATE INDEX IF NOT EXISTS rnnpipe_tags ON tags (value, run_uuid)"
    " WHERE key IN ('rnnpipe.run_key', 'rnnpipe.pipeline_run')"
)


def upgrade(address: str) -> None:
    """Let MLflow change its tables, then make the index if it isn't there."""
    import psycopg

    uri = MLFLOW_DATABASE.format(postgres=address)
    subprocess.run([sys.executable, "-m", "mlflow", "db", "upgrade", uri], check=True)
    host, _, port = address.rpartition(":")
    with psycopg.connect(host=host, port=port, user="mlflow", dbname="mlflow", autocommit=True) as connection:
        connection.execute(INDEX)


if __name__ == "__main__":
    upgrade(places_of_environment(workspace_root()).postgres)
