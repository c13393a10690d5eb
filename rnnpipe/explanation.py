"""Why a stage runs, in words: what differs between its inputs and those of the most similar earlier output."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnpipe.references import StageRef

MAX_DIFFERENCES = 4
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """Why a stage is skipped or runs, and its output if that is there."""

    reason: str
    output: StageRef | None = None

    @property
    def present(self) -> bool:
        """Whether the output is there."""
        return self.output is not None

    @property
    def sentence(self) -> str:
        """What a run says when it comes to the stage."""
        return f"skipped: {self.reason}" if self.present else f"runs: {self.reason}"

    @property
    def forecast(self) -> str:
        """The same, said before anything runs."""
        return f"skipped: {self.reason}" if self.present else f"would run: {self.reason}"


def same_inputs(inputs: Inputs, run: str) -> str:
    """Return the reason to skip a stage: run `run` has made the output of these inputs."""
    count = len(inputs)
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    return f"same {number} input{'' if count == 1 else 's'} as run {run}"


def what_differs(inputs: Inputs, earlier: Sequence[Inputs]) -> str:
    """Return the reason to run a stage: how its inputs differ from the most similar of `earlier`, newest first."""
    if not earlier:
        return "nothing like it is stored yet"
    found = differences(min(earlier, key=lambda other: _distance(other, inputs)), inputs)
    more = len(found) - MAX_DIFFERENCES
    shown = ", ".join(found[:MAX_DIFFERENCES])
    return f"{shown} and {more} more" if more > 0 else shown


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, child in value.items():
        flat |= _flatten(child, f"{prefix}.{name}" if prefix else name)
    return flat


def _distance(old: Inputs, new: Inputs) -> tuple[int, int]:
    """Return how unlike two outputs are: other variants and seeds first, then the number of differences."""
    before, after = _flatten(old), _flatten(new)
    kin = sum(before.get(name) != after.get(name) for name in ("variant.name", "seed"))
    return kin, len(differences(old, new))


def differences(old: Inputs, new: Inputs) -> list[str]:
    """Return "field old → new" for each input that differs; of digests, the first eight characters."""
    before, after = _flatten(old), _flatten(new)
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            lines.append(f"{_label(name)} {_show(after[name])} is new")
        elif name not in after:
            lines.append(f"{_label(name)} {_show(before[name])} is gone")
        elif before[name] != after[name]:
            change = f"{_show(before[name])} → {_show(after[name])}"
            if _is_code(name):
                change = f"changed (revision {change})"
            elif _is_digest(before[name]) and _is_digest(after[name]):
                change = f"changed {change}"
            lines.append(f"{_label(name)} {change}")
    return lines


def _is_code(name: str) -> bool:
    return name.partition(".")[0] == "code"


def _label(name: str) -> str:
    """Return an input's name; of code.evaluation/deploy.py, "code of rnnpipe.evaluation.deploy"."""
    _, _, path = name.partition(".")
    if not _is_code(name):
        return name
    return f"code of rnnpipe.{path.removesuffix('.py').replace('/', '.')}" if path else "code"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value[:8] if _is_digest(value) else value
    return json.dumps(value, ensure_ascii=False)
