"""Events (tasks' states) and logs, which Prefect sends beside the run: what is tried when its API is gone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import set_api_log_sink
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

# at once: an event that can't be sent waits for the next connection; Prefect's own ten take seven seconds an event
RECONNECTIONS = 2


def hold_on() -> None:
    """Send Prefect events and logs from now on; call it before a flow starts."""
    set_api_log_sink(None)
    EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=RECONNECTIONS)


def let_go() -> None:
    """Drop the logs from now on: nobody takes them, and the end of the process would wait for each batch."""
    set_api_log_sink(lambda log: None)


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Send no heartbeats in the block, where the user hasn't set how often: nobody listens to those of such a run.

    What sends them sleeps a second at a time, and the end of a run waits for it. Deployments have theirs.
    """
    if PREFECT_FLOWS_HEARTBEAT_FREQUENCY.name in os.environ:
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
