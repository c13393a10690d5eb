"""What a run is: frozen models of every setting, and how they are read from YAML."""

from rnnpipe.config.data import DataConfig
from rnnpipe.config.execution import ExecutionConfig, RayConfig
from rnnpipe.config.loading import load_config, validate_file
from rnnpipe.config.pipeline import PipelineConfig
from rnnpipe.config.registry import RegistryConfig
from rnnpipe.config.sections import (
    EvaluationConfig,
    SequenceConfig,
    TrackingConfig,
    VariantConfig,
)
from rnnpipe.config.sweep import SweepConfig
from rnnpipe.config.training import TrainingConfig

__all__ = [
    "DataConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "PipelineConfig",
    "RayConfig",
    "RegistryConfig",
    "SequenceConfig",
    "SweepConfig",
    "TrackingConfig",
    "TrainingConfig",
    "VariantConfig",
    "load_config",
    "validate_file",
]
