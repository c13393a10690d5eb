"""From YAML files and `--set` overrides to a PipelineConfig; every error at once, in words."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.errors import ConfigError

MAX_CONFIG_BYTES = 1 << 20
MAX_VALUE_CHARACTERS = 80


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML with plain values only; ConfigError names the place of a mistake."""
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise ConfigError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a config file as a mapping."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: larger than 1 MiB, so it is no config")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path}: can't be read: {reason}", "name a YAML file, such as configs/*.yaml"
        ) from None
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections, this is {type(values).__name__}")
    return values


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with each "section.field=YAML" set; list items by number (variants.0.dropout=0.1)."""
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator or not path.strip():
            raise ConfigError(f"--set {override}: needs the form section.field=value")
        target: Any = values
        *parents, last = path.strip().split(".")
        for part in parents:
            target = _child(target, part, override)
        value = parse_yaml(text, f"--set {override}")
        if isinstance(target, list):
            target[_index(target, last, override)] = value
        else:
            target[last] = value
    return values


def _child(target: Any, part: str, override: str) -> Any:
    child = (
        target[_index(target, part, override)] if isinstance(target, list) else target.setdefault(part, {})
    )
    if not isinstance(child, dict | list):
        raise ConfigError(f"--set {override}: {part} is a value, not a section")
    return child


def _index(items: list[Any], part: str, override: str) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ConfigError(f"--set {override}: the list has the items 0 to {len(items) - 1}, not {part}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read, override and check a config; ConfigError lists every mistake together."""
    values = apply_overrides(read_yaml(path), overrides)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in explain_errors(error))
        raise ConfigError(f"{path}: {error.error_count()} mistake(s)\n{lines}") from None


def validate_file(path: Path, overrides: Sequence[str] = ()) -> str | None:
    """Return None for a good config, else the text that lists its mistakes."""
    try:
        load_config(path, overrides)
    except ConfigError as error:
        return str(error)
    return None


def explain_errors(error: ValidationError) -> Iterator[str]:
    """Yield a line for each mistake: field, value, reason, and the nearest valid name."""
    for item in error.errors(include_url=False, include_context=False):
        location = [str(part) for part in item["loc"]]
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            names = _field_names(location[:-1])
            yield f"{'.'.join(location)}: unknown key{_nearest(location[-1], names)}"
        elif item["type"] == "missing":
            yield f"{'.'.join(location)}: is missing"
        elif (
            isinstance(item["input"], dict) and ": " in message
        ):  # a check of a whole section names its field
            yield f"{'.'.join([*location, message])}"
        else:
            nearest = _nearest(str(item["input"]), message.replace(",", " ").replace("'", " ").split())
            yield f"{'.'.join(location)} = {_shorten(item['input'])}: {message}{nearest}"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[: MAX_VALUE_CHARACTERS - 1]}…"


def _nearest(name: str, names: Sequence[str]) -> str:
    match = difflib.get_close_matches(name[:64], names, n=1)
    return f"; did you mean {match[0]}?" if match and match[0] != name else ""


def _field_names(location: Sequence[str]) -> list[str]:
    """Return the names valid at a place in the config, found by walking the models."""
    model: type[BaseModel] = PipelineConfig
    for part in location:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            candidates = [annotation, *get_args(annotation)]
            model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
