"""How often the test images were looked at, from what MLflow holds: a counter of its own could be killed."""

from rnnpipe.tracking.client import Tracking, mlflow, mlflow_errors, retried
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.runs import MAX_DIGEST_CHARACTERS, RUN_KEY_TAG

PAGE = 1000


@retried
def count_looks(tracking: Tracking, champion: Version, dataset_digest: str) -> int:
    """Return how many models were trained and measured on a dataset since the champion was made.

    All experiments count. A run is told its dataset once it has been measured on the test images. A training
    counts once, whatever was killed, repeated or deleted: its key does. Measuring the champion anew isn't counted.
    """
    client = tracking.client
    with mlflow_errors("count the looks at the test images"):
        made_at_ms = client.get_model_version(champion.name, str(champion.number)).creation_timestamp
        experiments = [each.experiment_id for each in client.search_experiments()]
        query = (
            f"dataset.digest = '{dataset_digest[:MAX_DIGEST_CHARACTERS]}' and attributes.end_time > {made_at_ms}"
        )
        keys = set[str]()
        found = None
        while found is None or found.token:
            found = client.search_runs(
                experiments, query, mlflow.entities.ViewType.ALL, PAGE, page_token=found.token if found else None
            )
            keys |= {run.data.tags[RUN_KEY_TAG] for run in found if RUN_KEY_TAG in run.data.tags}
    return len(keys)
