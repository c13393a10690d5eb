"""What the server does by itself: a run whose process is gone is marked as crashed, a crashed one started again.

Started again is the same flow run, with its parameters: what it had finished is skipped, its trainings go on from
their last checkpoint. So a run that was taken for dead and isn't does no harm: the second attempt waits for the
first one's stages and uses them.
"""

import time
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import AwaitingRetry

from flows.ghosts import MESSAGE

HEARTBEAT_S = 30  # the shortest that Prefect has
SILENCE_S = 3 * HEARTBEAT_S  # so long without a sign of life, and a run counts as dead
START_S = 600  # a run that was handed to a process pool has begun by then, or its worker died in between
MOST_STARTS = 10  # a run that crashes each time stays crashed in the end
SERVER_S = 3.0  # what the server's automation gets to start a run again that has just crashed
RECENT = timedelta(days=1)
HANDED_BACK = "it was stopped or killed; a worker goes on with it"
SILENT = f"no sign of life for {SILENCE_S} s"
ASKED_TO_END = "Execution was aborted by a termination signal."  # Prefect's words
# how Prefect, or flows/ghosts.py, says that a process was killed; one that fails by itself would fail again
KILLED = (
    ASKED_TO_END,
    "Process exited with status code: -*",
    "Process exited with status code: 137*",
    "Process exited with status code: 143*",
    "Flow run infrastructure exited with non-zero status code 137*",
    "Flow run infrastructure exited with non-zero status code 143*",
    f"{SILENT}*",
    f"{MESSAGE}*",
)

HEARTBEAT, CRASHED, ANY_EVENT = "prefect.flow-run.heartbeat", "prefect.flow-run.Crashed", "prefect.flow-run.*"
TAKEN = {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"}
AGAIN = {"name": "AwaitingRetry", "state": StateType.SCHEDULED}


def was_killed(message: str | None) -> bool:
    """Say whether a crash's message tells of a killed process."""
    return any(fnmatchcase(message or "", pattern) for pattern in KILLED)


def owner_tag(project: str) -> str:
    """Return the tag of the deployments that a project's file owns, and of their runs."""
    return f"managed:{project}"


def automations(project: str) -> list[AutomationCore]:
    """Return the automations for the runs of a project's deployments; other runs send no heartbeats in time."""
    tag = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{owner_tag(project)}"}
    process_pool = {"prefect.resource.role": "work-pool", "prefect.work-pool.type": "process"}
    any_run: dict[str, Any] = {"prefect.resource.id": "prefect.flow-run.*"}
    starts = [str(count) for count in range(MOST_STARTS)]
    killed = any_run | {"prefect.run-count": starts, "prefect.state-message": list(KILLED)}
    each: dict[str, Any] = {"for_each": {"prefect.resource.id"}, "threshold": 1}
    silent = EventTrigger(
        after={HEARTBEAT}, expect={ANY_EVENT}, match=any_run, match_related=tag,
        posture=Posture.Proactive, within=timedelta(seconds=SILENCE_S), **each,
    )  # fmt: skip
    stuck = EventTrigger(
        after=TAKEN, expect={ANY_EVENT}, match=any_run, match_related=[tag, process_pool],
        posture=Posture.Proactive, within=timedelta(seconds=START_S), **each,
    )  # fmt: skip
    crashed = EventTrigger(
        expect={CRASHED}, match=killed, match_related=tag, posture=Posture.Reactive, **each
    )  # fmt: skip
    gone = ChangeFlowRunState(state=StateType.CRASHED, message=f"{SILENT}: {MESSAGE}")
    return [
        AutomationCore(
            name=f"{project}: mark dead runs as crashed",
            description=f"A run that sends no heartbeat for {SILENCE_S} s has lost its process.",
            trigger=silent,
            actions=[gone],
        ),
        AutomationCore(
            name=f"{project}: start crashed runs again",
            description=f"A killed run goes on from where it was; it is started {MOST_STARTS} times at most.",
            trigger=crashed,
            actions=[ChangeFlowRunState(message="started again after a crash", **AGAIN)],
        ),
        AutomationCore(
            name=f"{project}: start stuck runs again",
            description=f"A run that a process worker took and that hasn't begun after {START_S} s.",
            trigger=stuck,
            actions=[ChangeFlowRunState(message="started again: it was taken and never began", **AGAIN)],
        ),
    ]


def start_killed_again(pool: str) -> None:
    """Let runs of a pool be started again that were killed lately, where the automation missed it.

    On SQLite, Prefect loses an event now and then when it is busy.
    """
    since = datetime.now(UTC) - RECENT
    crashed = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED]))
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    with get_client(sync_client=True) as client:

        def killed() -> set[UUID]:
            recent = FlowRunFilter(state=crashed, end_time=FlowRunFilterEndTime(after_=since))
            found = client.read_flow_runs(flow_run_filter=recent, work_pool_filter=of_pool)
            return {run.id for run in found if run.state and was_killed(run.state.message)}

        if before := killed():
            time.sleep(SERVER_S)  # the automation may just be at it
            for flow_run_id in before & killed():
                client.set_flow_run_state(flow_run_id, AwaitingRetry(message=HANDED_BACK))


def put(client: SyncPrefectClient, wanted: AutomationCore, present: list[Any]) -> str:
    """Make an automation what it should be and return what was done. Switched off on the page, it stays off."""
    same = [automation for automation in present if automation.name == wanted.name]
    if not same:
        client.create_automation(wanted)
        return "created"
    wanted = wanted.model_copy(update={"enabled": same[0].enabled})
    compared = set(AutomationCore.model_fields) - {"owner_resource"}  # which the server doesn't tell
    if same[0].model_dump(include=compared) == wanted.model_dump(include=compared):
        return "unchanged"
    # Prefect's client leaves out of an update what was not set in so many words, and its server refuses the rest
    client.delete_automation(same[0].id)
    client.create_automation(wanted)
    return "updated"
