"""The shape that all variants share: x_BTI -> logits_BK, an encoder and one linear head on the last step."""

from torch import Tensor, nn

from rnnpipe.catalogue import VARIANTS, load_target
from rnnpipe.config import VariantConfig
from rnnpipe.models.initialization import initialize_orthogonal, seeded_weights


class SequenceClassifier(nn.Module):
    """An encoder and a linear head."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Return the logits, of shape (B, K)."""
        logits_BK: Tensor = self.head(self.encoder(x_BTI))
        return logits_BK


def build_classifier(config: VariantConfig, *, input_size: int, num_classes: int, seed: int) -> SequenceClassifier:
    """Build a variant on the CPU; its weights are a function of the arguments alone.

    The global random state neither matters nor changes.
    """
    with seeded_weights(seed):
        encoder = load_target(VARIANTS[config.name].build)(input_size, config)
        if config.initialization == "orthogonal":
            initialize_orthogonal(encoder)
        return SequenceClassifier(encoder, nn.Linear(encoder.output_size, num_classes))


def count_parameters(module: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
