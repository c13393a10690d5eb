"""What was changed about the servers, as it is measured and as the page tells it."""

from flows.stack.tracking_tables import INDEX

__all__ = ["INDEX", "POOL", "WORK_MEMORY", "redis_settings"]

WORK_MEMORY = "ALTER ROLE mlflow SET work_mem = '64MB'"
POOL = {"MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "40"}


def redis_settings(address: str) -> dict[str, str]:
    """Return what lets several servers of Prefect act as one: messages, order, leases and tasks through Redis."""
    return {
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_DOCKET_URL": f"{address}/1",
        "PREFECT_REDIS_MESSAGING_URL": f"{address}/0",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    }
