"""Events (tasks' states) and logs, which Prefect sends beside the run: what is tried when its API is gone."""

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
    """Send no heartbeats in the block, where nobody has set how often.

    What sends them sleeps a second at a time, and the end of a run waits for it. They are for automations that
    look after deployments, which set how often; a run that the command line has lost is closed by the next.
    """
    with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
