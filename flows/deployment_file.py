"""The file of deployments, prefect.yaml, as `rnnpipe deploy` reads it: of Prefect's keys those it acts on.

Prefect ignores a key that it doesn't know; here it is a mistake, and all mistakes are told at once.
"""

import zoneinfo
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect.client.schemas.schedules import CronSchedule
from pydantic import AfterValidator, Field, ValidationError, field_validator

from flows.announcements import EVENT, dataset_resource
from flows.parameters import FLOWS, Json, parameter_mistakes
from flows.work_pools import job_variable_mistakes
from rnnpipe.config.fields import Clash, PlainName, Section
from rnnpipe.config.mistakes import list_mistakes, nearest_name
from rnnpipe.config.reading import read_yaml
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ConfigError

SECRETS = ("PASSWORD", "AUTH_STRING", "SECRET", "SECRET_KEY", "SECRET_ACCESS_KEY", "API_KEY", "TOKEN")


def _check_flow(entrypoint: str) -> str:
    if entrypoint not in FLOWS:
        raise ValueError(f"no flow of rnnpipe has this name; choose one of {', '.join(FLOWS)}")
    return entrypoint


def _check_cron(cron: str) -> str:
    try:
        return CronSchedule(cron=cron).cron
    except ValidationError:
        raise ValueError("must be a cron line, minute hour day month weekday, such as '0 3 * * *'") from None


def _check_time_zone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if name not in known:
        raise ValueError(f"must be a time zone{nearest_name(name, known) or ', such as Europe/Berlin or UTC'}")
    return name


def _check_labels(labels: Json) -> Json:
    for value in labels.values():
        if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
            raise ValueError("must be texts, or lists of texts, by the name of a resource's label")
    return labels


def _check_nothing(steps: list[Json]) -> list[Json]:
    if steps:
        raise ValueError("must be empty: flows are imported from where rnnpipe is installed, nothing is fetched")
    return steps


Entrypoint = Annotated[str, AfterValidator(_check_flow), Field(json_schema_extra={"enum": list(FLOWS)})]
Labels = Annotated[Json, AfterValidator(_check_labels)]


class WorkPool(Section):
    """Where the runs of a deployment are executed."""

    name: PlainName = Field(description="Work pool; it is made if it isn't there.")
    type: Literal["process", "docker", "kubernetes"] = Field(
        "process", description="What its workers start for a run: process, docker or kubernetes."
    )
    job_variables: Json = Field(default_factory=dict, description="What its jobs are told: env, image, ...")

    def clashes(self) -> Iterator[Clash]:
        """Yield what is wrong with the job variables, and passwords among them, which Prefect would show."""
        environment = self.job_variables.get("env")
        for name, value in environment.items() if isinstance(environment, dict) else ():
            if name.endswith(SECRETS) or mask_credentials(str(value)) != str(value):
                yield Clash(
                    ("name", "job_variables"), f"env.{name} holds a password; set it where the worker runs"
                )
        for mistake in job_variable_mistakes(self.type, self.job_variables):
            yield Clash(("job_variables", "type"), mistake)


class Schedule(Section):
    """When a deployment runs by itself: a cron line or an interval."""

    slug: PlainName = Field(description="The schedule's own name, by which it is found again.")
    cron: Annotated[str, AfterValidator(_check_cron)] | None = Field(None, description="Cron line.")
    interval: float | None = Field(None, ge=60, le=1e9, description="Seconds between runs, instead of cron.")
    timezone: Annotated[str, AfterValidator(_check_time_zone)] = Field("UTC", description="Time zone.")
    active: bool | None = Field(None, description="Whether it counts; null: as it is, at first yes.")
    parameters: Json = Field(default_factory=dict, description="Parameters of these runs alone.")

    def clashes(self) -> Iterator[Clash]:
        """Yield that there has to be one time and no second."""
        if (self.cron is None) == (self.interval is None):
            yield Clash(("cron", "interval"), "a schedule needs either cron or interval")


def _check_events(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name.startswith("rnnpipe") and not fnmatchcase(EVENT, name):
            raise ValueError(f"{name} is no event of rnnpipe; did you mean {EVENT}?")
    return names


class Trigger(Section):
    """An event on which a deployment is run."""

    type: Literal["event"] = Field("event", description="Kind of trigger.", json_schema_extra={"enum": ["event"]})
    name: PlainName = Field(description="The trigger's own name, by which it is found again.")
    expect: Annotated[tuple[str, ...], AfterValidator(_check_events)] = Field(
        min_length=1, max_length=20, description="Events, such as rnnpipe.dataset.*."
    )
    match: Labels = Field(default_factory=dict, description="Labels of the event's resource.")
    match_related: Labels = Field(default_factory=dict, description="Labels of a related resource.")
    within: float = Field(0, ge=0, le=1e6, description="Seconds in which one run is enough, however many events.")


class ConcurrencyLimit(Section):
    """How many runs of a deployment there may be at a time."""

    limit: int = Field(ge=1, le=1000, description="Runs at a time.")
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = Field("ENQUEUE", description="What one more does.")
    grace_period_seconds: int | None = Field(None, ge=60, le=86_400, description="Seconds a run has to start.")


class Deployment(Section):
    """A flow with its parameters, where it runs and when."""

    name: PlainName = Field(description="Name.")
    entrypoint: Entrypoint = Field(description="The flow.")
    work_pool: WorkPool = Field(description="Where its runs are executed.")
    description: str | None = Field(None, description="What it is for; null: the flow's own description.")
    tags: tuple[str, ...] = Field((), description="Tags, for finding it.")
    parameters: Json = Field(default_factory=dict, description="Parameters of the flow.")
    schedules: tuple[Schedule, ...] = Field((), description="When it runs by itself.")
    triggers: tuple[Trigger, ...] = Field((), description="On which events it runs.")
    concurrency_limit: ConcurrencyLimit | None = Field(None, description="How many of its runs at a time.")

    def clashes(self) -> Iterator[Clash]:
        """Yield triggers that wait for other images than those that the parameters train on."""
        data = self.parameters.get("data")
        name = data.get("name") if isinstance(data, dict) else None
        for trigger in self.triggers:
            found = trigger.match.get("prefect.resource.id")
            if isinstance(name, str) and isinstance(found, str) and not fnmatchcase(dataset_resource(name), found):
                reason = f"{trigger.name} waits for {found}, the parameters train on {name}"
                yield Clash(("triggers", "parameters"), f"{reason}: match {dataset_resource(name)}")

    @field_validator("schedules", "triggers")
    @classmethod
    def _differ(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        _refuse_twins([getattr(item, "slug", None) or item.name for item in items])
        return items


class DeploymentFile(Section):
    """The whole file."""

    name: PlainName = Field(description="Name of the project, which owns these deployments on the server.")
    pull: Annotated[list[Json], AfterValidator(_check_nothing)] = Field(
        default_factory=list, description="For Prefect's own command: nothing is fetched before a run."
    )
    definitions: Json = Field(default_factory=dict, description="What is used in several places, as YAML anchors.")
    deployments: tuple[Deployment, ...] = Field(min_length=1, max_length=100, description="The deployments.")

    @field_validator("deployments")
    @classmethod
    def _differ(cls, deployments: tuple[Deployment, ...]) -> tuple[Deployment, ...]:
        _refuse_twins([deployment.name for deployment in deployments])
        types: dict[str, str] = {}
        for pool in (deployment.work_pool for deployment in deployments):
            if types.setdefault(pool.name, pool.type) != pool.type:
                raise ValueError(f"the work pool {pool.name} is {types[pool.name]} here and {pool.type} there")
        return deployments


def _refuse_twins(names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the same name stands there twice: {', '.join(twice)}")


def load_deployments(path: Path) -> DeploymentFile:
    """Read and check a file of deployments; ConfigError lists every mistake together."""
    return check_deployments(read_yaml(path), str(path))


def check_deployments(values: Json, origin: str) -> DeploymentFile:
    """Return a file's content, checked; ConfigError lists every mistake together."""
    mistakes = []
    try:
        file = DeploymentFile.model_validate(values)
    except ValidationError as error:
        mistakes = list_mistakes(values, error, DeploymentFile)
    mistakes += parameter_mistakes(values)
    if not mistakes:
        return file
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    raise ConfigError("\n  ".join([f"{origin}: {count}", *mistakes]))
