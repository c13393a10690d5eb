"""A Prefect server brought in line with a file of deployments: work pools, automations, deployments, schedules.

What is as it should be is left alone; what left the file is removed, if it came from there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.types._datetime import parse_datetime
from prefect.utilities.callables import parameter_schema

from flows.automations import HEARTBEAT_S, automations, owner_tag, put
from flows.deployment_file import Deployment, DeploymentFile, Schedule, Trigger, WorkPool
from flows.parameters import Json
from flows.work_pools import job_template
from rnnpipe import __version__
from rnnpipe.catalogue import load_target
from rnnpipe.errors import ServiceError

ANCHOR = parse_datetime("2020-01-01T00:00:00+00:00")  # intervals count from here, whenever they were deployed


@dataclass(frozen=True)
class Change:
    """What was done to a thing on the server: created, updated, unchanged or removed."""

    subject: str
    what: str
    details: str = ""

    def __str__(self) -> str:
        return f"{self.what:9} {self.subject}{f' ({self.details})' if self.details else ''}"


def bring_in_line(file: DeploymentFile) -> Iterator[Change]:
    """Make the server hold what a file says, and yield a line for each thing; errors are the client's."""
    with get_client(sync_client=True) as client:
        for pool in {entry.work_pool.name: entry.work_pool for entry in file.deployments}.values():
            yield _put_pool(client, pool)
        for automation in automations(file.name):
            present = client.read_automations_by_name(automation.name)
            yield Change(f"automation {automation.name}", put(client, automation, present))
        kept = set()
        for entry in file.deployments:
            deployment = OnServer(client, file, entry)
            yield deployment.put()
            yield from deployment.put_triggers()
            kept.add(deployment.id)
        yield from _remove_others(client, file, kept)


def _put_pool(client: SyncPrefectClient, pool: WorkPool) -> Change:
    subject = f"{pool.type} work pool {pool.name}"
    try:
        there = client.read_work_pool(pool.name)
    except ObjectNotFound:
        pool_of_type = WorkPoolCreate(name=pool.name, type=pool.type, base_job_template=job_template(pool.type))
        client.create_work_pool(pool_of_type)
        return Change(subject, "created")
    if there.type != pool.type:
        raise ServiceError(
            f"the work pool {pool.name} on the server is of type {there.type}, the file says {pool.type}",
            "give the pool another name in the file, or delete it on the server",
        )
    return Change(subject, "unchanged")


def _remove_others(client: SyncPrefectClient, file: DeploymentFile, kept: set[UUID]) -> Iterator[Change]:
    owned = DeploymentFilter(tags=DeploymentFilterTags(all_=[owner_tag(file.name)]))
    for deployment in client.read_deployments(deployment_filter=owned):
        if deployment.id not in kept:
            client.delete_resource_owned_automations(f"prefect.deployment.{deployment.id}")
            client.delete_deployment(deployment.id)
            yield Change(f"deployment {deployment.name}", "removed", "it is not in the file any more")


class OnServer:
    """A deployment of the file and what the server holds of it."""

    def __init__(self, client: SyncPrefectClient, file: DeploymentFile, entry: Deployment) -> None:
        module, _, name = entry.entrypoint.rpartition(".")
        flow: Flow[..., Any] = load_target(f"{module}:{name}")
        self.client, self.entry, self.flow_name = client, entry, flow.name
        self.full_name, self.owner = f"{flow.name}/{entry.name}", owner_tag(file.name)
        self.wanted = _as_json(_wanted(file, entry, flow))
        self.id = UUID(int=0)

    def put(self) -> Change:
        """Make the deployment, or what differs of it, and say what that was."""
        subject = f"deployment {self.full_name}"
        try:
            present = self.client.read_deployment_by_name(self.full_name)
        except ObjectNotFound:
            self._write()
            return Change(subject, "created")
        if self.owner not in present.tags:
            raise ServiceError(
                f"the server has a deployment {self.full_name} that isn't of this file (no tag {self.owner})",
                "give yours another name in the file, or delete that one on the server",
            )
        self.id = present.id
        there = _as_json(_present(present))
        schedules = there["schedules"]
        for slug, schedule in self.wanted["schedules"].items():
            if schedule["active"] is None:  # the file leaves it to the page
                schedule["active"] = schedules[slug]["active"] if slug in schedules else True
        if self.wanted == there:
            return Change(subject, "unchanged")
        self._write()
        return Change(subject, "updated", ", ".join(_differences(self.wanted, there)))

    def _write(self) -> None:
        """Write all of the deployment; the server takes the schedules for all there are."""
        values = dict(self.wanted)
        schedules = {entry.slug: entry for entry in self.entry.schedules}
        values["schedules"] = [
            DeploymentScheduleCreate(
                slug=slug, schedule=_times(schedules[slug]), active=schedule["active"] is not False,
                parameters=schedule["parameters"],
            )
            for slug, schedule in values["schedules"].items()
        ]  # fmt: skip
        if values["concurrency_options"]:
            values["concurrency_options"] = ConcurrencyOptions(**values["concurrency_options"])
        flow_id = self.client.create_flow_from_name(self.flow_name)
        self.id = self.client.create_deployment(flow_id=flow_id, name=self.entry.name, **values)

    def put_triggers(self) -> Iterator[Change]:
        """Make the automations that run the deployment on events; remove those that left the file."""
        owner, prefix = f"prefect.deployment.{self.id}", f"{self.full_name}: "
        related = self.client.read_resource_related_automations(owner)
        present = [automation for automation in related if automation.name.startswith(prefix)]
        wanted = [self._automation(trigger, owner) for trigger in self.entry.triggers]
        for automation in wanted:
            what = put(self.client, automation, present)
            yield Change(f"automation {automation.name}", what)
        for automation in present:
            if automation.name not in {each.name for each in wanted}:
                self.client.delete_automation(automation.id)
                yield Change(f"automation {automation.name}", "removed", "it is not in the file any more")

    def _automation(self, trigger: Trigger, owner: str) -> AutomationCore:
        return AutomationCore(
            name=f"{self.full_name}: {trigger.name}",
            description=f"Runs {self.full_name} on {', '.join(trigger.expect)}.",
            trigger=EventTrigger(
                expect=set(trigger.expect), match=trigger.match, match_related=trigger.match_related,
                threshold=1, within=trigger.within,
            ),
            actions=[RunDeployment(source="selected", deployment_id=self.id)],
            owner_resource=owner,
        )  # fmt: skip


def _wanted(file: DeploymentFile, entry: Deployment, flow: Flow[..., Any]) -> Json:
    pool, limit = entry.work_pool, entry.concurrency_limit
    environment = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}
    return {
        "version": __version__,
        "description": entry.description or flow.description,
        "tags": sorted({owner_tag(file.name), *entry.tags}),
        "entrypoint": entry.entrypoint,
        "pull_steps": [],
        "parameters": entry.parameters,
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "work_pool_name": pool.name,
        "job_variables": {**pool.job_variables, "env": {**environment, **pool.job_variables.get("env", {})}},
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": limit.model_dump(exclude={"limit"}, exclude_none=True) if limit else None,
        "schedules": {
            each.slug: {"schedule": _times(each), "active": each.active, "parameters": each.parameters}
            for each in entry.schedules
        },
    }


def _present(deployment: DeploymentResponse) -> Json:
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    same = (
        "version", "description", "entrypoint", "pull_steps", "parameters", "parameter_openapi_schema",
        "enforce_parameter_schema", "work_pool_name", "job_variables",
    )  # fmt: skip
    return {
        **{name: getattr(deployment, name) for name in same},
        "tags": sorted(deployment.tags),
        "concurrency_limit": limit.limit if limit else None,
        "concurrency_options": options.model_dump(exclude_none=True) if limit and options else None,
        "schedules": {
            each.slug or str(each.id): {
                "schedule": each.schedule, "active": each.active, "parameters": each.parameters
            }
            for each in deployment.schedules
        },
    }  # fmt: skip


def _times(schedule: Schedule) -> CronSchedule | IntervalSchedule:
    if schedule.cron is not None:
        return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    assert schedule.interval is not None
    interval = timedelta(seconds=schedule.interval)
    return IntervalSchedule(interval=interval, anchor_date=ANCHOR, timezone=schedule.timezone)


def _as_json(values: Json) -> Json:
    """Return values as they come back from the server."""

    def plain(value: Any) -> Any:
        return value.model_dump(mode="json") if hasattr(value, "model_dump") else str(value)

    result: Json = json.loads(json.dumps(values, default=plain))
    return result


def _differences(wanted: Json, there: Json) -> Iterator[str]:
    yield from (name.replace("_", " ") for name in wanted if name != "schedules" and wanted[name] != there[name])
    new, old = wanted["schedules"], there["schedules"]
    yield from (f"schedule {slug} added" for slug in new.keys() - old.keys())
    yield from (f"schedule {slug} removed" for slug in old.keys() - new.keys())
    yield from (f"schedule {slug} changed" for slug in new.keys() & old.keys() if new[slug] != old[slug])
