"""What was changed about the servers, as it is measured and as the page tells it."""

from flows.stack.tracking_tables import INDEX

__all__ = ["INDEX", "POOL", "WORK_MEMORY"]

WORK_MEMORY = "ALTER ROLE mlflow SET work_mem = '64MB'"
POOL = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "40"}
