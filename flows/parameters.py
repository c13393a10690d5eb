"""The flows that can be deployed, and what each takes: by that, parameters in the file are checked."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from rnnpipe.config import PipelineConfig
from rnnpipe.config.fields import Section, Seed
from rnnpipe.config.mistakes import list_mistakes

Json = dict[str, Any]


class RetrainParameters(PipelineConfig):
    """What the retraining flow takes: a pipeline's config, and whether to train although nothing changed."""

    force: bool = Field(False, description="Train even if nothing changed.")


class DemosParameters(Section):
    """What the flow of the demos takes."""

    seed: Seed = Field(0, description="Seed of the weights.")


# entry points: a flow's place, and what it takes
FLOWS: dict[str, type[Section]] = {
    "flows.pipeline.pipeline": PipelineConfig,
    "flows.retrain.retrain": RetrainParameters,
    "flows.sweep.sweep": PipelineConfig,
    "flows.demos.recurrence_demos": DemosParameters,
}


def parameter_mistakes(values: Json) -> Iterator[str]:
    """Yield what is wrong with the parameters of each deployment and schedule whose flow is known."""
    for place, deployment in _mappings(values, "deployments"):
        model, parameters = FLOWS.get(str(deployment.get("entrypoint"))), deployment.get("parameters", {})
        if model is None or not isinstance(parameters, dict):
            continue
        yield from (f"{place}.parameters.{line}" for line in _mistakes_in(parameters, model))
        for below, schedule in _mappings(deployment, "schedules"):
            own = schedule.get("parameters")
            if isinstance(own, dict):
                found = _mistakes_in({**parameters, **own}, model)
                yield from (f"{place}.{below}.parameters.{line}" for line in found if _is_about(own, line))


def _mistakes_in(parameters: Json, model: type[BaseModel]) -> list[str]:
    try:
        model.model_validate(parameters)
    except ValidationError as error:
        return list_mistakes(parameters, error, model)
    return []


def _is_about(parameters: Mapping[str, Any], line: str) -> bool:
    return any(line.startswith((f"{name}.", f"{name} =", f"{name}:")) for name in parameters)


def _mappings(values: Json, name: str) -> Iterator[tuple[str, Json]]:
    items = values.get(name)
    for number, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield f"{name}.{number}", item
