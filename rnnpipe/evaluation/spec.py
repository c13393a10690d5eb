"""What a model folder says of its net, in words that need no torch to be read."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.config.data import ColumnsConfig, Pixels
from rnnpipe.errors import DataError

WEIGHTS_FILE = "weights.safetensors"
SPEC_FILE = "model.json"
MODEL_FILES = (WEIGHTS_FILE, SPEC_FILE)


class SeriesSpec(BaseModel):
    """What a net needs to read series: names of the features, and by what they are scaled (0 and 1: they aren't).

    `has_lengths` says that series may be shorter than the longest, padded with NaN; `columns` are those of the
    parquet file that it was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    names: tuple[str, ...] = Field(min_length=1, max_length=4096, fail_fast=True)
    means: tuple[float, ...]
    deviations: tuple[Annotated[float, Field(gt=0)], ...]
    has_lengths: bool
    columns: ColumnsConfig | None = None

    @model_validator(mode="after")
    def _are_as_many(self) -> Self:
        if not len(self.names) == len(self.means) == len(self.deviations):
            raise ValueError("needs one mean and one deviation for each name")
        return self

    @classmethod
    def of(cls, facts: Mapping[str, Any], *, is_unit: bool) -> Self:
        """Return the spec of what a sequences stage says of series; DataError for a feature that never changes."""
        names = facts["names"]
        if is_unit:
            return cls.model_validate({**facts, "means": [0.0] * len(names), "deviations": [1.0] * len(names)})
        for name, mean, deviation in zip(names, facts["means"], facts["deviations"], strict=True):
            if not deviation:
                raise DataError(
                    f"the feature {name} is {mean:g} in all training series, so there is nothing to scale",
                    "leave it out, or set sequence.scaling to unit",
                )
        return cls.model_validate(facts)


class ModelSpec(BaseModel):
    """Everything a net needs besides its weights; it stands in model.json.

    Of images `image_size` is (height, width) in pixels, `channels` 1 (grey) or 3 (red, green, blue); `steps` and
    `features` are T and I of its sequences; `mean` and `deviation` are of the training pixels scaled to 0..1, or
    0 and 1 where they are not standardised.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["rnnpipe-model-1"] = "rnnpipe-model-1"
    variant: VariantConfig
    sequence: SequenceConfig
    image_size: tuple[Pixels, Pixels] | None = None
    series: SeriesSpec | None = None
    channels: Literal[1, 3] = 1
    classes: tuple[str, ...] = Field(min_length=1, fail_fast=True)
    steps: int = Field(ge=1)
    features: int = Field(ge=1)
    mean: float
    deviation: float = Field(gt=0)
    dataset: dict[str, str]

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if (self.image_size is None) == (self.series is None):
            raise ValueError("needs either image_size or series")
        if self.series is not None and len(self.series.names) != self.features:
            raise ValueError(f"has {self.features} features and {len(self.series.names)} names of them")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """What the registered graph takes: an image (H, W), in colour (H, W, 3), or a series (T, I)."""
        if self.image_size is None:
            return (self.steps, self.features)
        return self.image_size if self.channels == 1 else (*self.image_size, self.channels)

    @property
    def has_lengths(self) -> bool:
        """Whether sequences may end before the last step; NaN is padding."""
        return self.series is not None and self.series.has_lengths

    @classmethod
    def of(cls, sequences_facts: Mapping[str, Any], variant: VariantConfig) -> Self:
        """Return the spec of a variant for the sequences that a stage reference's facts describe.

        The facts' mean and deviation are those of the pixels; the scaling says whether the net sees them.
        DataError where they can't be divided by.
        """
        shared = cls.model_fields.keys() & sequences_facts.keys()
        values = {name: sequences_facts[name] for name in shared}
        is_unit = (variant.scaling or SequenceConfig.model_validate(sequences_facts["sequence"]).scaling) == "unit"
        if values.get("series"):
            values["series"] = SeriesSpec.of(values["series"], is_unit=is_unit)
        elif is_unit:
            values |= {"mean": 0.0, "deviation": 1.0}
        elif not values["deviation"]:
            raise DataError("all training pixels are equal, so there is nothing to scale", "check the images")
        return cls(variant=variant, **values)
