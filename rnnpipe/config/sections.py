"""The sections of a config: one frozen model each, every field with its description, unit and range."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config.fields import (
    Clash,
    PlainName,
    Section,
    Seed,
    SequenceName,
    Storage,
    TagValue,
    VariantName,
)


def _without_default(schema: dict[str, Any]) -> None:
    """Leave the default out of the schema: it is the variant's own."""
    schema.pop("default", None)


class SequenceConfig(Section):
    """How an image is read as a sequence of T steps of I features."""

    name: SequenceName = Field(
        "rows", description="Transform: rows, columns, pixels, permuted or patches; as-is for series."
    )
    permutation_seed: Seed = Field(0, description="Seed of the pixel order, for `permuted`.")
    patch_size: int = Field(7, ge=1, le=256, description="Side of a patch in pixels, for `patches`.")
    scaling: Literal["unit", "standard"] = Field(
        "unit",
        description="unit: pixels in 0 to 1, series as they are; standard: also minus mean, over deviation, of"
        " training (of series for each feature).",
    )


class VariantConfig(Section):
    """One recurrent net; sizes not given are those of the tutorial it comes from."""

    name: VariantName = Field(description="Variant; `rnnpipe variants` lists them.")
    hidden_size: int = Field(
        0, ge=1, le=8192, description="Neurons a layer (1 to 8192).", json_schema_extra=_without_default
    )
    num_layers: int = Field(
        0, ge=1, le=16, description="Layers on each other (1 to 16).", json_schema_extra=_without_default
    )
    bidirectional: bool = Field(False, description="Read the sequence from both ends.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout probability between layers (0 to below 1; needs two layers)."
    )
    truncated_steps: int | None = Field(
        None,
        ge=1,
        le=262_144,
        description="Gradients go back through the last so many steps only (truncated back-propagation through"
        " time); null = through all.",
    )
    nonlinearity: Literal["tanh", "relu"] = Field("tanh", description="Activation of plain recurrent nets.")
    initialization: Literal["torch", "orthogonal"] = Field(
        "torch",
        description="torch: uniform as torch does; orthogonal: recurrent weights orthogonal, input weights"
        " Xavier, biases zero, an LSTM's forget bias one.",
    )
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="Learning rate of this variant, instead of training.learning_rate."
    )
    epochs: int | None = Field(
        None, ge=1, le=10_000, description="Epochs of this variant, instead of training.epochs."
    )
    scaling: Literal["unit", "standard"] | None = Field(
        None, description="Scaling of what this variant reads, instead of sequence.scaling."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_sizes(cls, values: Any) -> Any:
        spec = VARIANTS.get(str(values.get("name"))) if isinstance(values, dict) else None
        if spec is None:
            return values
        return {"hidden_size": spec.hidden_size, "num_layers": spec.num_layers, **values}

    def clashes(self) -> Iterator[Clash]:
        """Yield what the variant doesn't have."""
        spec = VARIANTS[self.name]
        for option in ("bidirectional", "dropout", "truncated_steps", "nonlinearity"):
            default = type(self).model_fields[option].default
            if getattr(self, option) != default and option not in spec.options:
                text = {None: "null", False: "false"}.get(default, default)
                yield Clash((option, "name"), f"{self.name} has no such option; leave it at {text}")
        if self.num_layers > 1 and "num_layers" not in spec.options:
            yield Clash(("num_layers", "name"), f"{self.name} has one layer")
        elif self.dropout and self.num_layers == 1 and "dropout" in spec.options:
            reason = "acts between layers, so it needs num_layers of at least 2"
            yield Clash(("dropout", "num_layers", "name"), reason)
        if self.truncated_steps and self.bidirectional:
            reason = "what is read from the end has its last steps at the beginning"
            yield Clash(("truncated_steps", "bidirectional"), reason)
        if self.name == "single-neuron" and self.hidden_size != 1:
            reason = "single-neuron has one neuron; `basic` is the same with more"
            yield Clash(("hidden_size", "name"), reason)

    @property
    def label(self) -> str:
        """The name that tells variants of one config apart: gru, or gru-64x1 where sizes differ."""
        spec, parts = VARIANTS[self.name], [self.name]
        if (self.hidden_size, self.num_layers) != (spec.hidden_size, spec.num_layers):
            parts.append(f"{self.hidden_size}x{self.num_layers}")
        parts += ["bi"] if self.bidirectional else []
        parts += [f"drop{self.dropout:g}"] if self.dropout else []
        parts += [f"tbptt{self.truncated_steps}"] if self.truncated_steps else []
        parts += ["relu"] if self.nonlinearity == "relu" else []
        parts += ["orth"] if self.initialization == "orthogonal" else []
        parts += [f"lr{self.learning_rate:g}"] if self.learning_rate else []
        parts += [f"e{self.epochs}"] if self.epochs else []
        parts += [self.scaling] if self.scaling else []
        return "-".join(parts)


class EvaluationConfig(Section):
    """How a trained model is measured."""

    batch_size: int = Field(1000, ge=1, le=1_000_000, description="Images a batch; halved when memory runs out.")
    latency_repeats: int = Field(200, ge=10, le=100_000, description="Single images timed, after the warm-up.")


TAGS_OF_OTHERS = ("rnnpipe.", "mlflow.", "prefect.")


class TrackingConfig(Section):
    """Where MLflow keeps the runs."""

    uri: Storage | None = Field(
        None,
        description="MLflow tracking URI (sqlite or http); null: MLFLOW_TRACKING_URI, else the workspace's.",
    )
    experiment: PlainName | None = Field(
        None, description="MLflow experiment; null: DATASET-TRANSFORM, as the registered model."
    )
    tags: dict[PlainName, TagValue] = Field(
        {}, max_length=20, description="Tags of your own on runs and versions; `rnnpipe runs --tag` finds them."
    )

    def clashes(self) -> Iterator[Clash]:
        """Yield the tags that would hide one that is set anyway."""
        for name in self.tags:
            if name.startswith(TAGS_OF_OTHERS):
                reason = f"{name}: such names belong to {name.partition('.')[0]}; choose another"
                yield Clash(("tags",), reason)
