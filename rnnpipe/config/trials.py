"""A sweep's trials as configs, and what is wrong with a search space: found before anything is trained."""

import itertools
import json
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config.mistakes import MAX_MISTAKES, expected_at, kind_at, list_mistakes
from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.config.reading import parse_yaml
from rnnpipe.config.sweep import SweepParameter, Value
from rnnpipe.errors import ConfigError

MAX_COMBINATIONS = 1000  # that are tried; of more, so many at random
MAX_WRONG = 50
NUMBERS = ("integer", "number")
SIZES = ("hidden_size", "num_layers")
WORD = re.compile("[a-z][a-z0-9-]*")  # needs no quotes in YAML, unless it means something there
EXPERIMENT_CHARACTERS = 56

Values = Mapping[str, Value]


def with_values(config: PipelineConfig, values: Values) -> dict[str, Any]:
    """Return a config's values with some fields set by their paths, and without its sweep.

    Where another variant is set, sizes that were the old one's own give way to the new one's.
    """
    changed = config.model_dump(mode="json", exclude={"sweep"})
    if "variants.0.name" in values:
        spec, variant = VARIANTS[config.variants[0].name], changed["variants"][0]
        for size in SIZES:
            if variant[size] == getattr(spec, size):
                del variant[size]
    for path, value in values.items():
        *parents, last = path.split(".")
        target: Any = changed
        for part in parents:
            target = target[int(part) if part.isdecimal() else part]
        target[last] = value
    return changed


def trial_config(config: PipelineConfig, values: Values) -> PipelineConfig:
    """Return the config of a trial: nothing is registered, and its runs have an experiment of the sweeps.

    ConfigError where the values don't fit together.
    """
    changed = with_values(config, values)
    changed["registry"]["register_model"] = False
    changed["tracking"]["experiment"] = f"{config.experiment[:EXPERIMENT_CHARACTERS]}-sweeps"
    try:
        return PipelineConfig.model_validate(changed)
    except ValidationError as error:
        told = "; ".join(list_mistakes(changed, error))
        raise ConfigError(f"these values don't fit together: {told}", "narrow sweep.parameters") from None


def best_config(config: PipelineConfig, values: Values) -> dict[str, Any]:
    """Return a config with the values of a trial, as short as it can be: for a file of its own."""
    best = PipelineConfig.model_validate(with_values(config, values))
    return {"name": best.name, **best.model_dump(mode="json", exclude_defaults=True)}


def overrides_of(values: Values) -> list[str]:
    """Return what `--set` takes to set these values."""
    return [f"{path}={_as_yaml(value)}" for path, value in values.items()]


def _as_yaml(value: Value) -> str:
    is_word = isinstance(value, str) and bool(WORD.fullmatch(value)) and parse_yaml(value, "") == value
    return str(value) if is_word else json.dumps(value)


def bounds_of(path: str, parameter: SweepParameter) -> tuple[int | float, int | float]:
    """Return low and high of a range: whole numbers where its field takes such."""
    assert parameter.low is not None and parameter.high is not None
    is_whole = kind_at(path) == "integer"
    low, high = (
        int(bound) if is_whole and bound.is_integer() else bound for bound in (parameter.low, parameter.high)
    )
    return low, high


def check_sweep(config: PipelineConfig) -> None:
    """Raise ConfigError, with every mistake, unless there is a sweep whose fields take each of their values."""
    if config.sweep is None:
        raise ConfigError(
            "the config has no section `sweep`, so there is nothing to try",
            "add one, such as sweep: {parameters: {training.learning_rate: {low: 0.001, high: 0.01, log: true}}}",
        )
    if mistakes := sweep_mistakes(config):
        raise ConfigError("\n  ".join(["the sweep can't be run", *mistakes]))


def sweep_mistakes(config: PipelineConfig) -> list[str]:
    """Return a line a field that isn't there, value that it doesn't take, and values that don't go together.

    Tried are the ends of ranges and all choices, together as in a trial: what one field takes may hang on another.
    """
    if config.sweep is None:
        return []
    mistakes, probes = list[str](), dict[str, Sequence[Value]]()
    for path, parameter in config.sweep.parameters.items():
        kind = kind_at(path)
        if parameter.choices is not None:
            probes[path] = parameter.choices
        elif kind is None or kind in NUMBERS:
            probes[path] = bounds_of(path, parameter)
            if kind == "integer" and parameter.step and not parameter.step.is_integer():
                mistakes.append(f"sweep.parameters.{path}.step = {parameter.step:g}: must be a whole number")
        else:
            mistakes.append(
                f"sweep.parameters.{path}: has nothing between low and high; give choices, each"
                f" {expected_at(path)}"
            )
    return [*mistakes, *_clashing(config, probes)][:MAX_MISTAKES]


def _clashing(config: PipelineConfig, probes: Mapping[str, Sequence[Value]]) -> Iterator[str]:
    """Yield a line for each kind of mistake that some values of the probes make together."""
    tried, wrong, failed = list[Values](), dict[str, list[Values]](), 0
    for chosen in _combinations(list(probes.values())):
        values = dict(zip(probes, chosen, strict=True))
        changed = with_values(config, values)
        tried.append(values)
        try:
            PipelineConfig.model_validate(changed)
        except ValidationError as error:
            for line in list_mistakes(changed, error):
                wrong.setdefault(line, []).append(values)
            failed += 1
        if failed == MAX_WRONG:
            break
    yield from (_blame(line, found, tried) for line, found in wrong.items())


def _combinations(probes: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    if math.prod(map(len, probes)) <= MAX_COMBINATIONS:
        yield from itertools.product(*probes)
        return
    for place, options in enumerate(probes):  # each value once, whatever chance leaves out
        for option in options:
            yield tuple(option if other == place else each[0] for other, each in enumerate(probes))
    chance = random.Random(0)  # noqa: S311 (it guards nothing)
    for _ in range(MAX_COMBINATIONS):
        yield tuple(chance.choice(options) for options in probes)


def _blame(line: str, found: Sequence[Values], tried: Sequence[Values]) -> str:
    """Return a mistake, and which other values it takes, unless the field's own is always one."""
    field, first = line.partition(" = ")[0].partition(":")[0], found[0]
    if field in first and len(found) == sum(_is_same(field, first, other) for other in tried):
        return f"sweep.parameters.{line}"
    along = [
        f"{path} = {value!r}"
        for path, value in first.items()
        if path != field and all(_is_same(path, first, other) for other in found)
    ]
    place = f"sweep.parameters.{line}" if field in first else f"sweep.parameters: {line}"
    return f"{place} (with {', '.join(along)})" if along else place


def _is_same(path: str, one: Values, other: Values) -> bool:
    return type(one[path]) is type(other[path]) and one[path] == other[path]
