"""MLflow's tables in the stack's Postgres, with the index by which rnnpipe finds its runs."""

import psycopg
import pytest
from stack_helpers import needs_postgres, new_stack

pytestmark = [needs_postgres, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_index_is_there_used_and_made_once() -> None:
    with new_stack() as stack:
        for _ in range(2):
            with (
                stack.running(("postgres", "databases", "mlflow-upgrade")),
                psycopg.connect(
                    host="127.0.0.1", port=stack.ports["postgres"], user="mlflow", dbname="mlflow",
                    password=stack.secret("mlflow_database_password"),
                ) as connection,
            ):  # fmt: skip
                found = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'rnnpipe_tags'")
                assert len(found.fetchall()) == 1
                connection.execute("SET enable_seqscan = off")
                query = "EXPLAIN SELECT run_uuid FROM tags WHERE key = 'rnnpipe.run_key' AND value = 'x'"
                plan = "\n".join(str(line) for (line,) in connection.execute(query))
                assert "rnnpipe_tags" in plan
