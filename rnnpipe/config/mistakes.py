"""What is wrong with a config, in words: every mistake at once, with field, value, reason and nearest name."""

import copy
import difflib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config.fields import CROSS_FIELD, IN_WORDS
from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.credentials import mask_credentials

MAX_VALUE_CHARACTERS = 80
MAX_MISTAKES = 50
KEY = "[key]"  # how pydantic says that it means a key, not what stands there

Location = tuple[int | str, ...]
Schema = dict[str, Any]


def list_mistakes(
    values: dict[str, Any], error: ValidationError, model: type[BaseModel] = PipelineConfig
) -> list[str]:
    """Return a line for each mistake in `values`, which gave `error` when a model was made of them.

    Checks of fields against each other need those fields to be right, so pydantic leaves them out where anything
    else is wrong. They are made up for with a second look, at the values without what is wrong. Of
    very many only the first are told.
    """
    items = error.errors(include_url=False)
    if len(items) > MAX_MISTAKES:
        return [*(_explain(item, model) for item in items[:MAX_MISTAKES]), f"and {len(items) - MAX_MISTAKES} more"]
    found = list(_without_echoes(items))
    wrong = [item["loc"] for item in found]
    try:
        model.model_validate(_without(values, wrong))
    except ValidationError as rest:
        found += [item for item in rest.errors(include_url=False) if _is_news(item, wrong)]
    return [_explain(item, model) for item in found]


def _without_echoes(items: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out the complaint that a list is too short which only says that none of its items is right."""
    for item in items:
        below = [other for other in items if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] != "too_short" or not below:
            yield item


def _without(values: dict[str, Any], wrong: Iterable[Location]) -> dict[str, Any]:
    """Return the values without the wrong ones; what can't be left out of a list stays."""
    rest = copy.deepcopy(values)
    for location in sorted(wrong, key=len, reverse=True):
        match location:
            case ("variants",):
                rest["variants"] = [{"name": next(iter(VARIANTS))}]
            case ("variants", int(number)) | ("variants", int(number), "name"):
                rest["variants"][number] = {"name": next(iter(VARIANTS))}
            case _:
                _take_out(rest, location)
    return rest


def _take_out(values: Any, location: Location) -> None:
    """Remove the innermost field on the way to a location; do nothing where a field isn't there."""
    field: tuple[dict[str, Any], str] | None = None
    for part in location:
        if isinstance(values, dict):
            if part not in values:
                return
            field = (values, str(part))
        elif not isinstance(values, list) or not isinstance(part, int) or part >= len(values):
            break
        values = values[part]
    if field is not None:
        del field[0][field[1]]


def _is_news(item: ErrorDetails, wrong: Sequence[Location]) -> bool:
    """Say whether a check of fields against each other looked at none of the values that are wrong themselves."""
    if item["type"] != CROSS_FIELD:
        return False
    names: Sequence[str] = item["ctx"]["fields"]
    section = item["loc"][: -len(names[0].split("."))]
    looked_at = [(*section, *name.split(".")) for name in names]
    return not any(one[: len(other)] == other[: len(one)] for one in looked_at for other in wrong)


def _explain(item: ErrorDetails, model: type[BaseModel]) -> str:
    location = ".".join(_printable(str(part)) for part in item["loc"] if part != KEY)
    if item["type"] == "extra_forbidden":
        *parents, key = item["loc"]
        nearest = nearest_name(str(key), _schema_at(parents, model)["properties"])
        return f"{location} = {_show(item['input'])}: unknown key{nearest}"
    schema = _schema_at(item["loc"], model)
    if item["type"] == "missing":
        return f"{location}: is missing; it must be {_expected(schema)}"
    named = location if KEY in item["loc"] else f"{location} = {_show(item['input'])}"
    if item["type"] in (CROSS_FIELD, IN_WORDS) or (item["type"] == "value_error" and "enum" not in schema):
        return f"{named}: {item['msg'].removeprefix('Value error, ')}"
    nearest = nearest_name(item["input"], schema.get("enum", ())) if isinstance(item["input"], str) else ""
    return f"{named}: must be {_expected(schema)}{nearest}"


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_defaults=True)
    try:
        text = mask_credentials(repr(value))
    except ValueError:  # Python writes no integers of more than 4,300 digits
        return "a number too long to show"
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 1]}…"


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean …?" with the most similar name; "" where none is similar."""
    match = difflib.get_close_matches(name[:64], list(names), n=1)
    return f"; did you mean {match[0]}?" if match else ""


@functools.cache
def _whole_schema(model: type[BaseModel]) -> Schema:
    """Return a model's JSON schema with every part in its place."""
    whole = model.model_json_schema()
    definitions = whole.pop("$defs", {})

    def in_place(part: Any) -> Any:
        if isinstance(part, list):
            return [in_place(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return in_place(definitions[part["$ref"].rpartition("/")[2]])
        return {name: in_place(value) for name, value in part.items()}

    schema: Schema = in_place(whole)
    return schema


def kind_at(path: str) -> str | None:
    """Return the JSON type that a field of a config takes, such as "integer"; None for no such field."""
    try:
        return str(_schema_at(_parts(path), PipelineConfig)["type"])
    except (KeyError, IndexError):
        return None


def expected_at(path: str) -> str:
    """Return in words what a field of a config takes; KeyError where there is no such field."""
    return _expected(_schema_at(_parts(path), PipelineConfig))


def _parts(path: str) -> Iterator[int | str]:
    yield from (int(part) if part.isdecimal() else part for part in path.split("."))


def _schema_at(location: Iterable[int | str], model: type[BaseModel]) -> Schema:
    """Return the JSON schema of a place in the config; {"or": "null", ...} where null is a value too."""
    schema, names = _resolve(_whole_schema(model)), Schema()
    for part in location:
        if isinstance(part, int):
            schema = _resolve(schema.get("items") or schema["prefixItems"][part])
        elif part == KEY:
            schema = names
        elif "properties" in schema:
            schema = _resolve(schema["properties"][part])
        else:  # a mapping whose keys are names of the user's own
            names = {"type": "string", **schema["propertyNames"]}
            (schema,) = schema["patternProperties"].values()
    return schema


def _resolve(schema: Schema) -> Schema:
    if "anyOf" in schema:
        first, other = schema["anyOf"]
        return {**_resolve(first), "or": other.get("const") or other.get("description", "null")}
    return schema


def _expected(schema: Schema) -> str:
    """Return in words what a field takes."""
    text = f"one of {', '.join(schema['enum'])}" if "enum" in schema else _expected_of_type(schema)
    return f"{text}, or {schema['or']}" if "or" in schema else text


def _expected_of_type(schema: Schema) -> str:
    if "patternErrorMessage" in schema:
        return str(schema["patternErrorMessage"])
    match schema["type"]:
        case "integer":
            return f"a whole number, {_range(schema)}"
        case "number":
            return _range(schema)
        case "array":
            return _list_of(schema)
        case "boolean" | "string" as kind:
            return {"boolean": "true or false", "string": "text; put it in quotes"}[kind]
        case _:
            kind = "names to texts" if "patternProperties" in schema else "fields"
            return f"a mapping of {kind}; leave it out for the defaults"


def _range(schema: Schema) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    start = f"above {above:.15g}" if low is None else f"{low:.15g}"
    end = f"below {below:.15g}" if high is None else f"{high:.15g}"
    return f"{start} to {end}" if low is not None else f"{start}, at most {end}"


def _list_of(schema: Schema) -> str:
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    item = _resolve(schema["items"] if "items" in schema else schema["prefixItems"][0])
    number = "" if most is None else f" of {most}" if fewest == most else f" of {fewest} to {most}"
    return f"a list{number}, each {_expected(item).partition(';')[0]}"
