"""Configs of any kind: each is valid, or refused in words that name the key and the range, within a second."""

import copy
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from reporting import Finding, Tally

from rnnpipe.config import PipelineConfig, load_config
from rnnpipe.errors import ConfigError

SECONDS = 1.0
FOREIGN_WORDS = ("Traceback", "pydantic", "Input should", "validation error")
GOOD: dict[str, Any] = {
    "name": "try",
    "data": {"name": "folder", "folder": "images", "image_size": [8, 9], "mirrors": ["https://a.example/x"],
             "validation_fraction": 0.1, "test_fraction": 0.2, "split_seed": 1, "limit": 100},
    "sequence": {"name": "patches", "permutation_seed": 3, "patch_size": 4, "scaling": "unit"},
    "variants": [{"name": "gru", "hidden_size": 8, "num_layers": 2, "dropout": 0.1, "learning_rate": 0.1},
                 {"name": "rnn", "nonlinearity": "relu", "initialization": "orthogonal"}],
    "seeds": [0, 1],
    "training": {"epochs": 2, "batch_size": 8, "optimizer": "adamw", "learning_rate": 0.1, "momentum": 0.5,
                 "adam_beta2": 0.9, "weight_decay": 0.1, "gradient_clip_norm": 1.0, "schedule": "cosine",
                 "warmup_fraction": 0.1, "early_stopping_patience": 2, "label_smoothing": 0.1,
                 "shift_pixels": 1, "rotation_degrees": 5.0, "zoom_fraction": 0.1, "preflight": False},
    "execution": {"device": "cuda:1", "threads": 2, "precision": "fp32", "timeout_s": 60},
    "evaluation": {"batch_size": 10, "latency_repeats": 20},
    "tracking": {"uri": "sqlite:///runs.db", "experiment": "mine"},
    "registry": {"register_model": False, "model_name": "mine", "significance": 0.1, "margin": 0.02,
                 "minimum_accuracy": 0.5, "minimum_class_recall": 0.4, "maximum_latency_ms": 9.5,
                 "maximum_size_bytes": 10_000_000},
}  # fmt: skip

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Attempt:
    """A config as text, overrides of it, and what a refusal has to say (if any of it is known)."""

    text: str
    overrides: tuple[str, ...] = ()
    must_refuse: bool = False
    says: tuple[str, ...] = ()


def walk(value: Any, at: Location = ()) -> Iterator[tuple[Location, Any]]:
    """Yield every place of a config below the root, with its value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*at, key), child
        yield from walk(child, (*at, key))


def number_fields() -> dict[str, dict[str, Any]]:
    """Return dotted name and JSON schema of each number in GOOD that has a range."""
    whole = PipelineConfig.model_json_schema()

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return resolved(whole["$defs"][schema["$ref"].rpartition("/")[2]])
        return resolved(schema["anyOf"][0]) if "anyOf" in schema else schema

    def at(location: Location) -> dict[str, Any]:
        schema = resolved(whole)
        for part in location:
            if isinstance(part, int):
                schema = resolved(schema.get("items") or schema["prefixItems"][part])
            else:
                schema = resolved(schema["properties"][part])
        return schema

    schemas = {location: at(location) for location, _ in walk(GOOD)}
    return {dotted(at): schema for at, schema in schemas.items() if schema["type"] in ("integer", "number")}


def dotted(location: Location) -> str:
    return ".".join(map(str, location))


def with_value(location: Location, value: Any, *, key: str | None = None) -> str:
    """Return GOOD as text with the value at one place, or under `key` beside it."""
    values = copy.deepcopy(GOOD)
    target: Any = values
    for part in location[:-1]:
        target = target[part]
    target[location[-1] if key is None else key] = value
    return yaml.safe_dump(values, allow_unicode=True)


NUMBERS = number_fields()
PLACES = {dotted(location): location for location, _ in walk(GOOD)}
TEXTS = [name for name, location in PLACES.items() if isinstance(dict(walk(GOOD))[location], str)]
FOLDED_BY_YAML = "\r\n\x85\u2028\u2029"
KEYS = st.text(st.characters(exclude_characters=FOLDED_BY_YAML), min_size=1, max_size=12)
MAPPINGS = [location for location in PLACES.values() if isinstance(location[-1], str)]
NOT_FINITE = [math.nan, math.inf, -math.inf, 1e308, -1e308, 10**400, -(10**400), 5e-324]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
    st.sampled_from(["1e-3", "auto", "folder", "~", "\0", "😀", "null", "0x10", "1_0", "2020-01-01", "=", "<<"]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def of_another_type(draw: st.DrawFn) -> Attempt:
    return Attempt(with_value(PLACES[draw(st.sampled_from(sorted(PLACES)))], draw(anything)))


@st.composite
def out_of_range(draw: st.DrawFn) -> Attempt:
    name = draw(st.sampled_from(sorted(NUMBERS)))
    schema = NUMBERS[name]
    low, high = bounds(schema)
    is_whole = schema["type"] == "integer"
    steps = st.integers(1, 10**9) if is_whole else st.floats(1e-9, 1e300)
    step = draw(steps)
    values = [low - step] if low is not None else []
    values += [high + step] if high is not None else []
    values += [schema[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in schema]
    value = draw(st.sampled_from(values))
    return Attempt(with_value(PLACES[name], value), must_refuse=is_beyond(value, schema), says=says(name))


@st.composite
def not_finite(draw: st.DrawFn) -> Attempt:
    name, value = draw(st.sampled_from(sorted(NUMBERS))), draw(st.sampled_from(NOT_FINITE))
    schema = NUMBERS[name]
    refused = not math.isfinite(value) if isinstance(value, float) else False
    refused = refused or is_beyond(value, schema) or (schema["type"] == "integer" and isinstance(value, float))
    return Attempt(with_value(PLACES[name], value), must_refuse=refused, says=says(name))


@st.composite
def any_text(draw: st.DrawFn) -> Attempt:
    characters = st.characters(exclude_categories=()) | st.sampled_from(
        "\0\x1b[2J\n\r\t/\\.~$%{}:@'\"\u202e\u200b\ufeff\ud800"
    )
    text = draw(st.text(characters, max_size=80) | st.sampled_from(["x" * 50_000, "é" * 30_000]))
    location = PLACES[draw(st.sampled_from(TEXTS))]
    if draw(st.booleans()):  # as the JSON string that YAML reads too, so that escapes reach the parser
        return Attempt(json.dumps(yaml.safe_load(with_value(location, "@@"))).replace('"@@"', json.dumps(text)))
    return Attempt(with_value(location, text))


@st.composite
def unknown_key(draw: st.DrawFn) -> Attempt:
    location, key = draw(st.sampled_from(MAPPINGS)), draw(KEYS)
    parents = location[:-1]
    known = {place[-1] for place in PLACES.values() if place[:-1] == parents}
    unknown = key not in known and not is_field(parents, key)
    # what a terminal would take for a command is escaped
    shown = dotted((*parents, key)) if key.isprintable() else dotted((*parents, repr(key)[1:-1]))
    says = (f"  {shown} = ", "unknown key") if unknown else ()
    return Attempt(with_value(location, draw(anything), key=key), must_refuse=unknown, says=says)


@st.composite
def torn_text(draw: st.DrawFn) -> Attempt:
    text = yaml.safe_dump(GOOD, default_flow_style=draw(st.sampled_from([None, True, False])))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 12))
        patch = draw(st.text(st.sampled_from("{}[]:,&*!|>%@`-?#'\" \n\t<~0a") | st.characters(), max_size=4))
        text = text[:start] + patch + text[end:]
    return Attempt(text)


@st.composite
def any_override(draw: st.DrawFn) -> Attempt:
    paths = st.sampled_from(sorted(PLACES)) | st.text(max_size=10)
    values = st.text(max_size=12) | scalars.map(str) | st.sampled_from(["[", "{a: ", "&a [*a]", "!!python/x", "-"])
    overrides = draw(
        st.lists(st.tuples(paths, values).map("=".join) | st.text(max_size=8), min_size=1, max_size=3)
    )
    return Attempt(yaml.safe_dump(GOOD), tuple(overrides))


FAULTS: dict[str, Callable[[], st.SearchStrategy[Attempt]]] = {
    "config: a value of another type": of_another_type,
    "config: a number out of its range": out_of_range,
    "config: NaN, infinite, 1e308, 10^400": not_finite,
    "config: any unicode as text": any_text,
    "config: an unknown key": unknown_key,
    "config: torn or altered YAML": torn_text,
    "config: any --set": any_override,
}


def is_field(parents: Location, key: str) -> bool:
    """Say whether a section has a field that GOOD leaves out."""
    try:
        PipelineConfig.model_validate(yaml.safe_load(with_value((*parents, key), None, key=key)))
    except ValueError as error:
        return "extra_forbidden" not in str(error)
    return True


def bounds(schema: dict[str, Any]) -> tuple[Any, Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    return low, schema.get("maximum", schema.get("exclusiveMaximum"))


def is_beyond(value: float, schema: dict[str, Any]) -> bool:
    low, high = bounds(schema)
    below = low is not None and (value < low or (value == low and "exclusiveMinimum" in schema))
    return below or (high is not None and (value > high or (value == high and "exclusiveMaximum" in schema)))


def says(name: str) -> tuple[str, ...]:
    """Return what the refusal of a number says: its key, and both ends of its range."""
    return (f"  {name} = ", *(f" {end:.15g}" for end in bounds(NUMBERS[name])))


def broken_by(attempt: Attempt, path: Path) -> list[str]:
    """Return in words which promises loading a config breaks."""
    path.write_text(attempt.text, encoding="utf-8", errors="surrogatepass")
    started_s = time.perf_counter()
    try:
        broken = broken_of(load_config(path, attempt.overrides))
        broken += ["it is valid, though out of range or unknown"] if attempt.must_refuse else []
    except ConfigError as error:
        text = str(error)
        broken = [f"it says {word!r}" for word in FOREIGN_WORDS if word in text]
        broken += [f"it doesn't say {word!r}: {text}" for word in attempt.says if word not in text]
        broken += [] if text.encode(errors="replace") == text.encode(errors="surrogatepass") else ["not printable"]
    except Exception as error:
        broken = [f"{type(error).__name__}: {error}"]
    wall_s = time.perf_counter() - started_s
    broken += [f"it took {wall_s:.1f} s"] if wall_s > SECONDS else []
    return [f"{each[:300]} (--set {attempt.overrides})" if attempt.overrides else each[:300] for each in broken]


def broken_of(config: PipelineConfig) -> list[str]:
    """Return what a valid config can't do: be stored and read back, and name its task."""
    again = PipelineConfig.model_validate(json.loads(json.dumps(config.as_json(), allow_nan=False)))
    names = [config.task, config.experiment, config.model_name, *(each.label for each in config.variants)]
    broken = [] if again == config else ["it changes when it is stored"]
    return broken + [f"the name {name!r} is a path" for name in names if "/" in name or name.startswith(".")]


def explore(strategy: st.SearchStrategy[Attempt], take: Callable[[Attempt], None], count: int, first: int) -> None:
    """Hand `count` examples of a strategy to `take`."""

    def example(attempt: Attempt) -> None:
        take(attempt)

    checks = settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    seed(first)(checks(given(strategy)(example)))()


def run(count: int, first_seed: int = 0) -> list[Finding]:
    """Load `count` configs, spread over all kinds; equal seeds give equal configs."""
    findings = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        for number, (fault, strategy) in enumerate(FAULTS.items()):
            tally = Tally(fault, "valid, or refused within 1 s by key and range; no traceback")
            examples = count // len(FAULTS) + (number < count % len(FAULTS))
            explore(strategy(), partial(take, tally, path), examples, first_seed)
            findings.append(tally.finding())
    return findings


def take(tally: Tally, path: Path, attempt: Attempt) -> None:
    """Count one config."""
    tally.add(*broken_by(attempt, path))
