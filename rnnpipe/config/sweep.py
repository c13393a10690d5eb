"""The section that says what a sweep looks for: fields of the config, and the values that each may take."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from rnnpipe.config.fields import IN_WORDS, Clash, Section, Seed

MAX_PARAMETERS = 20
TUNED = r"^(training|sequence|variants\.0)\.[a-z][a-z0-9_]*$"

Value = bool | int | float | str | None


def _check_choice(value: Any) -> Value:
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise PydanticCustomError("choice", "no single value")


def _shown(rule: str, **schema: Any) -> Any:
    return {**schema, "patternErrorMessage": rule}


Choice = Annotated[
    Any,
    BeforeValidator(_check_choice),
    WithJsonSchema(_shown("a single value that the field takes", type=["string", "number", "boolean", "null"])),
]
FieldPath = Annotated[
    str,
    Field(
        pattern=TUNED,
        json_schema_extra=_shown(
            "a field of training, sequence or variants.0, such as training.learning_rate: a sweep tunes one"
            " variant on the same images"
        ),
    ),
]


class SweepParameter(Section):
    """The values that one field may take: from low to high, or one of some choices."""

    low: float | None = Field(None, ge=0, le=1e9, description="Smallest value, of a number.")
    high: float | None = Field(None, ge=0, le=1e9, description="Largest value, of a number.")
    log: bool = Field(False, description="Look at magnitudes: 0.001 to 0.01 is as wide as 0.01 to 0.1.")
    step: float | None = Field(
        None, gt=0, le=1e9, description="Way from one value to the next; null: any value, of whole numbers each."
    )
    choices: tuple[Choice, ...] | None = Field(
        None, min_length=1, max_length=100, description="The values, where they aren't between two numbers."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Let true and false be choices; for a number they stand as little as anywhere."""
        if info.field_name not in ("choices", "log") and isinstance(value, bool):
            raise PydanticCustomError("boolean", "true and false are no value here")
        return value

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: tuple[Value, ...] | None) -> tuple[Value, ...] | None:
        for place, choice in enumerate(choices or ()):
            if any(choice == other and type(choice) is type(other) for other in (choices or ())[:place]):
                raise PydanticCustomError(IN_WORDS, f"{choice!r} stands there twice")
        return choices

    def clashes(self) -> Iterator[Clash]:
        """Yield what the two kinds of ranges don't have."""
        fields = ("choices", "low", "high", "log", "step")
        has_range = self.low is not None or self.high is not None or self.log or self.step is not None
        if self.choices is not None:
            if has_range:
                yield Clash(fields, "either choices, or low and high (with log or step); leave the others out")
        elif self.low is None or self.high is None:
            yield Clash(("low", "high", "choices"), "needs low and high, or choices")
        elif self.low >= self.high:
            yield Clash(("low", "high"), f"has to be below high, which is {self.high:g}")
        elif self.log and self.low <= 0:
            yield Clash(("low", "log"), "has to be above 0 where log is true: zero has no magnitude")
        elif self.step is not None:
            if self.log:
                yield Clash(("step", "log"), "steps are equal, magnitudes aren't; leave out one of step and log")
            steps = (self.high - self.low) / self.step
            if not math.isclose(steps, round(steps), rel_tol=1e-9) or round(steps) < 1:
                yield Clash(("step", "low", "high"), "has to divide the way from low to high")


def _names_fields(schema: dict[str, Any]) -> None:
    schema["patternErrorMessage"] = (
        f"a mapping of 1 to {MAX_PARAMETERS} fields, such as training.learning_rate, each to {{low, high}} or"
        " {choices}"
    )


class SweepConfig(Section):
    """What `rnnpipe sweep` tries: which fields, which values, how many trials. `rnnpipe run` ignores it."""

    parameters: dict[FieldPath, SweepParameter] = Field(
        min_length=1,
        max_length=MAX_PARAMETERS,
        description="Fields of training, sequence and variants.0, each with the values that it may take.",
        json_schema_extra=_names_fields,
    )
    trials: int = Field(
        30, ge=1, le=10_000, description="Trials in all; with more of them a finished sweep goes on."
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe: after ten random ones, trials near the best so far; random: all at random."
    )
    seed: Seed = Field(0, description="Seed of what is tried; the same seed tries the same.")
    pruning: bool = Field(
        True,
        description="Stop a trial whose best validation accuracy so far is below the median of the finished ones"
        " after as many epochs (after a third of the config's epochs, once five have finished).",
    )
    parallel: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Trials at a time; null: as many as the cores have room for, one on a GPU that is named. With"
        " one, the same seed always tries the same.",
    )
