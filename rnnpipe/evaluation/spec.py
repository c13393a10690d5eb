"""What a model folder says of its net, in words that need no torch to be read."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from rnnpipe.config import SequenceConfig, VariantConfig
from rnnpipe.config.sections import Pixels
from rnnpipe.errors import DataError

WEIGHTS_FILE = "weights.safetensors"
SPEC_FILE = "model.json"
MODEL_FILES = (WEIGHTS_FILE, SPEC_FILE)


class ModelSpec(BaseModel):
    """Everything a net needs besides its weights; it stands in model.json.

    `image_size` is (height, width) in pixels; `steps` and `features` are T and I of its sequences; `mean` and
    `deviation` are of the training pixels scaled to 0..1 (0 and 1 when they are not standardised).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal["rnnpipe-model-1"] = "rnnpipe-model-1"
    variant: VariantConfig
    sequence: SequenceConfig
    image_size: tuple[Pixels, Pixels]
    classes: tuple[str, ...] = Field(min_length=1, fail_fast=True)
    steps: int = Field(ge=1)
    features: int = Field(ge=1)
    mean: float
    deviation: float = Field(gt=0)
    dataset: dict[str, str]

    @classmethod
    def of(cls, sequences_facts: Mapping[str, Any], variant: VariantConfig) -> Self:
        """Return the spec of a variant for the sequences that a stage reference's facts describe.

        The facts' mean and deviation are those of the pixels; the scaling says whether the net sees them.
        DataError where they can't be divided by.
        """
        shared = cls.model_fields.keys() & sequences_facts.keys()
        values = {name: sequences_facts[name] for name in shared}
        if (variant.scaling or SequenceConfig.model_validate(sequences_facts["sequence"]).scaling) == "unit":
            values |= {"mean": 0.0, "deviation": 1.0}
        elif not values["deviation"]:
            raise DataError("all training pixels are equal, so there is nothing to scale", "check the images")
        return cls(variant=variant, **values)
