"""The small frozen references that pass between stages: digests, shapes and figures, never data."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from rnnpipe.files import digest_of


class Reference(BaseModel):
    """Frozen JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Reference):
    """What a stage's output is made from: everything that can change it, and nothing else.

    `subject` says in words what it is about, where the inputs are digests only; it is no part of the key.
    """

    stage: str
    inputs: dict[str, Any]
    subject: str = ""

    @property
    def key(self) -> str:
        """SHA-256 (hex) of the stage's canonical inputs: its name in the store and in Prefect's cache."""
        return digest_of({"stage": self.stage, "inputs": self.inputs})


class StageRef(Reference):
    """A stage's output in the store: its key, its content's digest, and the few facts others need of it."""

    stage: str
    key: str
    digest: str
    facts: dict[str, Any]
