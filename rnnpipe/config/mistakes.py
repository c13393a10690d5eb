"""What is wrong with a config, in words: every mistake at once, with field, value, reason and nearest name."""

import copy
import difflib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config.fields import CROSS_FIELD
from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.credentials import mask_credentials

MAX_VALUE_CHARACTERS = 80
MAX_MISTAKES = 50

Location = tuple[int | str, ...]
Schema = dict[str, Any]


def list_mistakes(values: dict[str, Any], error: ValidationError) -> list[str]:
    """Return a line for each mistake in `values`, which gave `error`.

    Checks of fields against each other need those fields to be right, so pydantic leaves them out where anything
    else is wrong. They are made up for with a second look, at the values without what is wrong. Of
    very many only the first are told.
    """
    items = error.errors(include_url=False)
    if len(items) > MAX_MISTAKES:
        return [*(_explain(item) for item in items[:MAX_MISTAKES]), f"and {len(items) - MAX_MISTAKES} more"]
    found = list(_without_echoes(items))
    wrong = [item["loc"] for item in found]
    try:
        PipelineConfig.model_validate(_without(values, wrong))
    except ValidationError as rest:
        found += [item for item in rest.errors(include_url=False) if _is_news(item, wrong)]
    return [_explain(item) for item in found]


def _without_echoes(items: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out the complaint that a list is too short which only says that none of its items is right."""
    for item in items:
        below = [other for other in items if other is not item and other["loc"][: len(item["loc"])] == item["loc"]]
        if item["type"] != "too_short" or not below:
            yield item


def _without(values: dict[str, Any], wrong: Iterable[Location]) -> dict[str, Any]:
    rest = copy.deepcopy(values)
    for location in sorted(wrong, key=len, reverse=True):
        match location:
            case ("variants",):
                rest["variants"] = [{"name": next(iter(VARIANTS))}]
            case ("variants", int(number)) | ("variants", int(number), "name"):
                rest["variants"][number] = {"name": next(iter(VARIANTS))}
            case ("variants", int(number), key, *_):
                rest["variants"][number].pop(key, None)
            case (section, key, *_) if isinstance(rest.get(str(section)), dict):
                rest[str(section)].pop(key, None)
            case (section, *_):
                rest.pop(str(section), None)
    return rest


def _is_news(item: ErrorDetails, wrong: Sequence[Location]) -> bool:
    """Say whether a check of fields against each other looked at none of the values that are wrong themselves."""
    if item["type"] != CROSS_FIELD:
        return False
    names: Sequence[str] = item["ctx"]["fields"]
    section = item["loc"][: -len(names[0].split("."))]
    looked_at = [(*section, *name.split(".")) for name in names]
    return not any(one[: len(other)] == other[: len(one)] for one in looked_at for other in wrong)


def _explain(item: ErrorDetails) -> str:
    location = ".".join(_printable(str(part)) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        *parents, key = item["loc"]
        nearest = _nearest(str(key), _schema_at(parents)["properties"])
        return f"{location} = {_show(item['input'])}: unknown key{nearest}"
    schema = _schema_at(item["loc"])
    if item["type"] == "missing":
        return f"{location}: is missing; it must be {_expected(schema)}"
    named = f"{location} = {_show(item['input'])}"
    if item["type"] == CROSS_FIELD or (item["type"] == "value_error" and "enum" not in schema):
        return f"{named}: {item['msg'].removeprefix('Value error, ')}"
    nearest = _nearest(item["input"], schema.get("enum", ())) if isinstance(item["input"], str) else ""
    return f"{named}: must be {_expected(schema)}{nearest}"


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = mask_credentials(repr(value))
    except ValueError:  # Python writes no integers of more than 4,300 digits
        return "a number too long to show"
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 1]}…"


def _nearest(name: str, names: Iterable[str]) -> str:
    match = difflib.get_close_matches(name[:64], list(names), n=1)
    return f"; did you mean {match[0]}?" if match else ""


@functools.cache
def _whole_schema() -> Schema:
    return PipelineConfig.model_json_schema()


def _schema_at(location: Iterable[int | str]) -> Schema:
    """Return the JSON schema of a place in the config; {"nullable": true, ...} where null is a value."""
    schema = _resolve(_whole_schema())
    for part in location:
        if isinstance(part, int):
            schema = _resolve(schema.get("items") or schema["prefixItems"][part])
        else:
            schema = _resolve(schema["properties"][part])
    return schema


def _resolve(schema: Schema) -> Schema:
    if "$ref" in schema:
        return _resolve(_whole_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return {**_resolve(schema["anyOf"][0]), "nullable": True}
    return schema


def _expected(schema: Schema) -> str:
    """Return in words what a field takes."""
    text = f"one of {', '.join(schema['enum'])}" if "enum" in schema else _expected_of_type(schema)
    return f"{text}, or null" if schema.get("nullable") else text


def _expected_of_type(schema: Schema) -> str:
    match schema["type"]:
        case "integer":
            return f"a whole number, {_range(schema)}"
        case "number":
            return _range(schema)
        case "boolean":
            return "true or false"
        case "array":
            return _list_of(schema)
        case "string":
            return str(schema.get("patternErrorMessage", "text; put it in quotes"))
        case _:
            return "a mapping of fields; leave it out for the defaults"


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
