"""The news that a dataset has changed: an event on Prefect's server, on which deployments can be run.

Its label `rnnpipe.used-by` says which flow has the data already: a flow that trains on what it fetched itself
needn't be started for it. So a trigger excludes its own flow, and no run starts another of its kind.
"""

import logging
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events import Event, emit_event
from prefect.runtime import flow_run

logger = logging.getLogger("rnnpipe.announcements")

EVENT = "rnnpipe.dataset.updated"
NOBODY = "nobody"


def dataset_resource(dataset: str) -> str:
    """Return under which name the news of a dataset come."""
    return f"rnnpipe.dataset.{dataset}"


def announce(dataset: str, note: str) -> None:
    """Tell the server that a dataset has changed; an error of the client where it doesn't take the event."""
    event = Event(**_news(dataset, NOBODY, {"note": note} if note else {}))
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])


def tell_of_download(dataset: str, digest: str) -> None:
    """Tell the server that this flow run has new data; where that fails, the log says so and the run goes on."""
    try:
        emit_event(**_news(dataset, str(flow_run.flow_name), {"digest": digest, "flow_run": str(flow_run.id)}))
    except Exception as error:
        logger.warning("the news of the dataset %s couldn't be sent: %s", dataset, error)


def _news(dataset: str, used_by: str, payload: dict[str, Any]) -> dict[str, Any]:
    resource = {
        "prefect.resource.id": dataset_resource(dataset),
        "prefect.resource.name": dataset,
        "rnnpipe.used-by": used_by,
    }
    return {"event": EVENT, "resource": resource, "payload": {"dataset": dataset, **payload}}
