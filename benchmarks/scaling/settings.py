"""What was changed about the servers, as it is measured and as the page tells it."""

INDEX = (
    "CREATE INDEX rnnpipe_tags ON tags (value, run_uuid) WHERE key IN ('rnnpipe.run_key', 'rnnpipe.pipeline_run')"
)
WORK_MEMORY = "ALTER ROLE mlflow SET work_mem = '64MB'"
POOL = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "40"}
