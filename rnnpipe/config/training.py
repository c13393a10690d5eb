"""How a variant is trained."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rnnpipe.config.fields import Clash, Section

# Of VariantConfig: what stands for a field of TrainingConfig, where it is given.
OF_TRAINING = {"learning_rate", "epochs"}


class TrainingConfig(Section):
    """How a variant is trained."""

    epochs: int = Field(10, ge=1, le=10_000, description="Passes over the training images.")
    batch_size: int = Field(64, ge=1, le=65_536, description="Images an update.")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="Optimiser: adam, adamw or sgd.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="Highest learning rate of the schedule.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum, for sgd (0 to below 1).")
    adam_beta2: float = Field(
        0.999,
        ge=0.5,
        lt=1,
        description="Decay of the mean of squared gradients, for adam and adamw (0.5 to below 1).",
    )
    weight_decay: float = Field(0.0, ge=0, le=10, description="Weight decay, for adamw and sgd.")
    gradient_clip_norm: float | None = Field(
        1.0, gt=0, le=1e6, description="Largest norm of all gradients together; null = no clipping."
    )
    schedule: Literal["constant", "one-cycle", "cosine"] = Field(
        "constant", description="Course of the learning rate: constant, one-cycle (up, then down) or cosine."
    )
    warmup_fraction: float = Field(
        0.15, ge=0, lt=1, description="Share of the updates in which one-cycle rises (0 to below 1)."
    )
    early_stopping_patience: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Epochs without a better validation accuracy before stopping; null = never.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each label that is spread evenly over all classes (0 to below 1). The training loss"
        " in journal and MLflow is then the smoothed one; validation and test losses never are.",
    )
    shift_pixels: int = Field(
        0,
        ge=0,
        le=64,
        description="Each training image is shifted by up to so many pixels, down or up and left or right.",
    )
    rotation_degrees: float = Field(
        0.0, ge=0, le=45, description="Each training image is turned by up to so many degrees, either way."
    )
    zoom_fraction: float = Field(
        0.0, ge=0, le=0.5, description="Each training image is enlarged or shrunk by up to this share of its size."
    )
    preflight: bool = Field(True, description="Check shapes, first loss and learnability before training.")

    def clashes(self) -> Iterator[Clash]:
        """Yield what the optimiser doesn't have."""
        if self.optimizer == "adam" and self.weight_decay:
            yield Clash(("weight_decay", "optimizer"), "adam has none here; use `optimizer: adamw`")
