"""What a node of a cluster is asked and answers, as small JSON, and where it leaves files in the exchange."""

from rnnpipe.config import PipelineConfig
from rnnpipe.errors import TrainingError, remade
from rnnpipe.exchange import Listing
from rnnpipe.references import Recipe, Reference, StageRef


class Order(Reference):
    """A training that a node is to do: what `training_recipe` takes, the recipes to be met, and the exchange.

    Of several nodes that share it, `node` 0 leads.
    """

    config: PipelineConfig
    variant: int
    seed: int
    run: str
    sequences: StageRef
    sequences_recipe: Recipe
    recipe: Recipe
    exchange: str
    node: int = 0

    @property
    def place(self) -> str:
        """The training's folder in the exchange."""
        return f"trainings/{self.recipe.key}"


class Answer(Reference):
    """How it ended: the listing of what lies in the exchange, or an error of rnnpipe with its fix."""

    node: str
    output: Listing | None = None
    error: str = ""
    message: str = ""
    fix: str = ""

    def result(self) -> Listing:
        """Return the listing, or raise the error as if it had happened here."""
        if self.output is None:
            raise remade(self.error, f"on {self.node}: {self.message}", self.fix, TrainingError)
        return self.output


def output_of(place: str) -> str:
    """Return the folder in the exchange for what a training at `place` ends with."""
    return f"{place}/output"


def sequences_place(sequences: StageRef) -> str:
    """Return the folder in the exchange for sequences that only the driver can make."""
    return f"sequences/{sequences.key}"
