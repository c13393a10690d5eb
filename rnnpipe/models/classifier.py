"""The shape that all variants share: x_BTI -> logits_BK, an encoder and one linear head on the last step."""

from torch import Tensor, nn

from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import VariantConfig
from rnnpipe.errors import ConfigError
from rnnpipe.models.initialization import initialize_orthogonal, seeded_weights
from rnnpipe.models.lengths import split_off_padding
from rnnpipe.plugins import call_code


class SequenceClassifier(nn.Module):
    """An encoder and a linear head. One that `has_lengths` reads sequences that end before their first NaN."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, *, has_lengths: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.has_lengths = has_lengths

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the logits, of shape (B, K)."""
        state_BH: Tensor = self.encoder(*split_off_padding(x_BTI)) if self.has_lengths else self.encoder(x_BTI)
        logits_BK: Tensor = self.head(state_BH)
        return logits_BK


def build_classifier(
    config: VariantConfig, *, input_size: int, num_classes: int, seed: int, has_lengths: bool = False
) -> SequenceClassifier:
    """Build a variant on the CPU; its weights are a function of the arguments alone.

    The global random state neither matters nor changes. ConfigError where sequences differ in length (NaN is
    padding), and the variant can't read such.
    """
    if has_lengths:
        _check_reads_lengths(config)
    with seeded_weights(seed):
        encoder = call_code(VARIANTS[config.name], f"variants.name {config.name}", input_size, config)
        if config.initialization == "orthogonal":
            initialize_orthogonal(encoder)
        return SequenceClassifier(encoder, nn.Linear(encoder.output_size, num_classes), has_lengths=has_lengths)


def _check_reads_lengths(config: VariantConfig) -> None:
    if not VARIANTS[config.name].reads_lengths:
        valid = ", ".join(name for name, spec in VARIANTS.items() if spec.reads_lengths)
        raise ConfigError(
            f"variants.name {config.name}: reads sequences of one length, and these differ",
            f"choose one of {valid}, or cut all series to one length",
        )
    if config.truncated_steps:
        raise ConfigError(
            f"variants.truncated_steps {config.truncated_steps}: is for sequences of one length, and these differ",
            "leave variants.truncated_steps at null",
        )


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
