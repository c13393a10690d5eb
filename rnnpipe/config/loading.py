"""From YAML files and `--set` overrides to a PipelineConfig; every error at once, in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnpipe.config.mistakes import list_mistakes
from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.config.reading import parse_yaml, read_yaml
from rnnpipe.config.trials import sweep_mistakes
from rnnpipe.errors import ConfigError


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with each "section.field=YAML" set; list items by number (variants.0.dropout=0.1)."""
    for override in overrides:
        path, separator, text = override.partition("=")
        *parents, last = path.strip().split(".")
        if not separator or not all([*parents, last]):
            raise ConfigError(f"--set {override}: needs the form section.field=value")
        value = parse_yaml(text, f"--set {override}")
        target: Any = values
        for part in parents:
            target = _child(target, part, override)
        if isinstance(target, list):
            target[_index(target, last, override)] = value
        else:
            target[last] = value
    return values


def _child(target: Any, part: str, override: str) -> Any:
    key = _index(target, part, override) if isinstance(target, list) else part
    if isinstance(target, dict) and target.get(part) is None:
        target[part] = {}
    if not isinstance(target[key], dict | list):
        raise ConfigError(f"--set {override}: {part} is a value, not a section")
    return target[key]


def _index(items: list[Any], part: str, override: str) -> int:
    if part.isascii() and part.isdecimal() and len(part) < 10 and int(part) < len(items):
        return int(part)
    numbers = f"has the items 0 to {len(items) - 1}" if items else "is empty"
    raise ConfigError(f"--set {override}: the list {numbers}, there is no {part}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read, override and check a config; ConfigError lists every mistake together."""
    values = apply_overrides(read_yaml(path), overrides)
    try:
        config = PipelineConfig.model_validate(values)
    except ValidationError as error:
        mistakes = list_mistakes(values, error)
    else:
        if not (mistakes := sweep_mistakes(config)):
            return config
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    raise ConfigError("\n  ".join([f"{path}: {count}", *mistakes]))


def validate_file(path: Path, overrides: Sequence[str] = ()) -> str | None:
    """Return None for a good config, else the text that lists its mistakes."""
    try:
        load_config(path, overrides)
    except ConfigError as error:
        return str(error)
    return None
