"""The section that says when a model is registered, and what it takes to become the champion."""

from pydantic import Field

from rnnpipe.config.fields import PlainName, Section


class RegistryConfig(Section):
    """When the best model becomes a version, and a version the champion."""

    register_model: bool = Field(True, description="Register the best model of the run.")
    model_name: PlainName | None = Field(
        None, description="Registered model; null: DATASET-TRANSFORM, such as mnist-rows."
    )
    significance: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="p-value (two-sided, exact McNemar test) up to which a difference counts as shown (0 to 1).",
    )
    margin: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Loss in test accuracy beyond which a model is rejected even if it may be chance (0 to 1).",
    )
    minimum_accuracy: float = Field(
        0.0, ge=0, le=1, description="Test accuracy below which a model is rejected (0 to 1)."
    )
    minimum_class_recall: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of a class' test images that a model has to recognise, or it is rejected (0 to 1).",
    )
    maximum_latency_ms: float | None = Field(
        None, gt=0, le=1e7, description="Median ms for one image above which a model is rejected; null = any."
    )
    maximum_size_bytes: int | None = Field(
        None, ge=1, le=1 << 40, description="Bytes of weights above which a model is rejected; null = any."
    )
