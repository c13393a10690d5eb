"""The page on which a task's runs are compared, ranked, in one click; and the addresses of pages."""

import json
from collections.abc import Sequence
from urllib.parse import quote

from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.tracking.client import Tracking, mlflow_errors

VIEW_KEY = "rnnpipe-compare"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"  # internal to MLflow's pages: a browser test looks at it
WORKFLOW = "workflowType=machine_learning"
RANKED_BY = MetricNames.TEST_ACCURACY_PCT
# few: MLflow sorts columns by name, and the accuracy is to be in view
SHOWN_METRICS = (
    MetricNames.TEST_ACCURACY_PCT, MetricNames.TEST_ACCURACY_LOW_PCT, MetricNames.TEST_ACCURACY_HIGH_PCT,
    MetricNames.TEST_LATENCY_MS_P50,
)  # fmt: skip
NOTE_TAG = "mlflow.note.content"


def save_comparison_view(tracking: Tracking, param_names: Sequence[str]) -> None:
    """Save the experiment's comparison: best test accuracy first, columns for these params and the metrics."""
    columns = [f"params.`{name}`" for name in param_names]
    columns += [f"metrics.`{name}`" for name in SHOWN_METRICS]
    state = {
        "searchFilter": "",
        "orderByKey": f"metrics.`{RANKED_BY}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*columns, "attributes.`Models`"],
    }
    note = f"[All runs side by side, the best test accuracy first]({_comparison(tracking.experiment_id)})"
    with mlflow_errors("save the comparison view"):
        tracking.client.set_experiment_tag(tracking.experiment_id, VIEW_TAG, json.dumps(state))
        if not tracking.client.get_experiment(tracking.experiment_id).tags.get(NOTE_TAG):
            tracking.client.set_experiment_tag(tracking.experiment_id, NOTE_TAG, note)


def comparison_url(base_url: str, experiment_id: str) -> str:
    """Return the address of the experiment's saved comparison; other filters in it would switch it off."""
    return f"{base_url.rstrip('/')}/{_comparison(experiment_id)}"


def experiments_url(base_url: str) -> str:
    """Return the address of the list of experiments."""
    return f"{_root(base_url)}/experiments?{WORKFLOW}"


def compared_experiments(tracking: Tracking) -> list[tuple[str, str]]:
    """Return name and id of each experiment that has a saved comparison, the one used last first."""
    with mlflow_errors("list the experiments"):
        found = tracking.client.search_experiments(order_by=["last_update_time DESC"])
    return [(str(each.name), str(each.experiment_id)) for each in found if VIEW_TAG in each.tags]


def run_url(base_url: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run's page."""
    return f"{_root(base_url)}/experiments/{experiment_id}/runs/{run_id}?{WORKFLOW}"


def artifact_path(experiment_id: str, run_id: str, path: str) -> str:
    """Return the way from any of MLflow's pages to an artifact of a run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(path)}?{WORKFLOW}"


def model_version_url(base_url: str, model_name: str, number: int) -> str:
    """Return the address of a model version's page."""
    return f"{_root(base_url)}/models/{quote(model_name, safe='')}/versions/{number}?{WORKFLOW}"


def _comparison(experiment_id: str) -> str:
    """Return the way to the saved comparison from any of MLflow's pages."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW_KEY}&{WORKFLOW}"


def _root(base_url: str) -> str:
    return f"{base_url.rstrip('/')}/#"
