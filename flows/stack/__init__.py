"""The self-hosted stack: Postgres, Prefect, MLflow and a worker, the same in containers and without."""
