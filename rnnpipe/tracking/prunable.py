"""What `prune` speaks of: things that may go or stay, and the rules that decide."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

NEEDED = "a version needs it"


@dataclass(frozen=True)
class Rules:
    """What counts as old: beyond the `keep` newest versions without alias (if `versions`), or unused for `days`.

    `now_s` is in seconds since 1970.
    """

    keep: int
    versions: bool
    days: int
    now_s: float

    def is_recent(self, used_s: float) -> bool:
        """Say whether what was used at that time, in seconds since 1970, is to stay."""
        return self.now_s - used_s < self.days * 86_400


@dataclass(frozen=True)
class Item:
    """A thing of a kind, why it goes or stays, and its bytes where they are known.

    `remove` is there if it may go; it answers False where somebody came to need it meanwhile.
    """

    kind: str
    name: str
    size_bytes: int = 0
    reason: str = ""
    remove: Callable[[], bool] | None = None

    def stays(self, reason: str) -> Self:
        """Return the thing as one that is needed."""
        return replace(self, reason=reason)

    def goes(self, reason: str, remove: Callable[[], bool]) -> Self:
        """Return the thing as one that may be removed."""
        return replace(self, reason=reason, remove=remove)
