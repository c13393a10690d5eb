"""What Prefect knows of each type of work pool: its job template, and what a deployment may set of it."""

import functools
import json
from collections.abc import Iterator
from importlib.resources import files

from jsonschema import Draft202012Validator

from flows.parameters import Json
from rnnpipe.config.mistakes import nearest_name

# Prefect ships what its workers of other packages take, for the form on its page
METADATA = "collections_data/views/aggregate-worker-metadata.json"


@functools.cache
def job_template(kind: str) -> Json:
    """Return the job template that a new work pool of this type gets."""
    text = files("prefect.server.api").joinpath(METADATA).read_text(encoding="utf-8")
    workers = {name: worker for package in json.loads(text).values() for name, worker in package.items()}
    template: Json = workers[kind]["default_base_job_configuration"]
    return template


def job_variable_mistakes(kind: str, variables: Json) -> Iterator[str]:
    """Yield in words what is wrong with a deployment's job variables; Prefect would ignore an unknown name."""
    schema = job_template(kind)["variables"]
    known = schema["properties"]
    for name in variables.keys() - known.keys():
        yield f"a {kind} pool has no job variable {name}{nearest_name(name, known)}"
    for error in Draft202012Validator(schema).iter_errors(variables):
        yield f"{'.'.join(map(str, error.absolute_path)) or kind}: {error.message[:200]}"
