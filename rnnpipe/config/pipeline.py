"""The whole config of a pipeline run, with the checks that span sections."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from rnnpipe.catalogue import DATASETS, SEQUENCES
from rnnpipe.config.data import DataConfig
from rnnpipe.config.execution import ExecutionConfig
from rnnpipe.config.fields import MAX_SEEDS, Clash, PlainName, Section, Seeds, or_their_number
from rnnpipe.config.registry import RegistryConfig
from rnnpipe.config.sections import (
    EvaluationConfig,
    SequenceConfig,
    TrackingConfig,
    VariantConfig,
)
from rnnpipe.config.sweep import SweepConfig
from rnnpipe.config.training import OF_TRAINING, TrainingConfig


class PipelineConfig(Section):
    """A pipeline run: data, sequence transform, variants, and how they are trained and judged."""

    name: PlainName = Field("pipeline", description="Name of the run in Prefect's and MLflow's lists.")
    data: DataConfig = Field(default_factory=DataConfig, description="Which images or series.")
    sequence: SequenceConfig = Field(default_factory=SequenceConfig, description="Image to sequence.")
    variants: tuple[VariantConfig, ...] = Field(
        min_length=1, max_length=64, description="The nets that are compared."
    )
    seeds: Seeds = Field(
        (0,),
        min_length=1,
        max_length=MAX_SEEDS,
        description="Each variant is trained once with each of these seeds; a number n stands for 0 to n - 1.",
        json_schema_extra=or_their_number,
    )
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="How they are trained.")
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig, description="On what it runs.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="How they are measured.")
    tracking: TrackingConfig = Field(default_factory=TrackingConfig, description="Where runs are kept.")
    registry: RegistryConfig = Field(default_factory=RegistryConfig, description="When a model is promoted.")
    sweep: SweepConfig | None = Field(None, description="What `rnnpipe sweep` tries; null: nothing.")

    @field_validator("variants")
    @classmethod
    def _differ(cls, variants: tuple[VariantConfig, ...]) -> tuple[VariantConfig, ...]:
        if twice := _repeated([variant.label for variant in variants]):
            raise ValueError(f"the same variant stands there twice: {twice}")
        return variants

    @field_validator("seeds")
    @classmethod
    def _differ_too(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if twice := _repeated([str(seed) for seed in seeds]):
            raise ValueError(f"the same seed stands there twice: {twice}")
        return seeds

    def clashes(self) -> Iterator[Clash]:
        """Yield what sections need of each other."""
        if self.training.early_stopping_patience and not self.data.validation_fraction:
            fields = ("training.early_stopping_patience", "data.validation_fraction")
            yield Clash(fields, "needs validation images; set data.validation_fraction")
        if self.sweep and len(self.variants) > 1:
            reason = "tunes one variant, and here are several; leave one, and give variants.0.name as choices"
            yield Clash(("sweep", "variants"), reason)
        if self.sweep and not self.data.validation_fraction:
            reason = "chooses on validation images, never on test images; set data.validation_fraction"
            yield Clash(("sweep", "data.validation_fraction"), reason)
        held, read = DATASETS[self.data.name].holds, SEQUENCES[self.sequence.name].reads
        if held != read:
            valid = ", ".join(name for name, spec in SEQUENCES.items() if spec.reads == held)
            reason = f"reads {read}, and {self.data.name} holds {held}; choose one of {valid}"
            yield Clash(("sequence.name", "data.name"), reason)
        for change in ("shift_pixels", "rotation_degrees", "zoom_fraction"):
            if held == "series" and getattr(self.training, change):
                fields = (f"training.{change}", "data.name")
                yield Clash(fields, f"is for images, and {self.data.name} holds series; set it to 0")

    @property
    def task(self) -> str:
        """The task that models compete in, such as mnist-rows: default experiment and registered model."""
        dataset = self.data.name
        own = self.data.folder or self.data.file
        if own:
            path = Path(os.path.realpath(own))  # resolve() raises on links in a circle
            name = (path.name if self.data.folder else path.stem).lower()
            dataset = re.sub(r"[^a-z0-9]+", "-", name)[:40].strip("-") or dataset
        return f"{dataset}-{self.sequence.name}"

    @property
    def experiment(self) -> str:
        """The MLflow experiment of this run."""
        return self.tracking.experiment or self.task

    @property
    def model_name(self) -> str:
        """The registered model that this run's best version belongs to."""
        return self.registry.model_name or self.task

    def training_of(self, variant: VariantConfig) -> TrainingConfig:
        """Return the training section with the variant's own learning rate and epochs, where it has them."""
        own = variant.model_dump(include=OF_TRAINING, exclude_none=True)
        return self.training.model_copy(update=own) if own else self.training

    def params_of(self, variant: int, seed: int) -> dict[str, Any]:
        """Return all that one training goes by (the variant by its place), as nested JSON values."""
        chosen = self.variants[variant]
        others = {"variants", "seeds", "registry", "tracking", "name", "sweep"}
        where = {"engine", "ray"}  # of the cluster nothing depends
        params = self.model_dump(mode="json", exclude={**dict.fromkeys(others, True), "execution": where})
        params["training"] = self.training_of(chosen).model_dump(mode="json")
        return {
            **params,
            "variant": chosen.label,
            "variant_config": chosen.model_dump(mode="json"),
            "seed": seed,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the resolved config as JSON values."""
        return self.model_dump(mode="json")


def _repeated(names: Sequence[str]) -> str:
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))
