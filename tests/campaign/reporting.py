"""What a campaign found: one line a fault, with what was promised, how often it was put in, and what broke."""

from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN_DETAILS = 5


@dataclass(frozen=True)
class Finding:
    """How often a fault was injected, and how often the promise didn't hold; `details` are the first of those."""

    fault: str
    promise: str
    injections: int
    failures: int
    details: tuple[str, ...] = ()


@dataclass
class Tally:
    """Counts the injections of one fault; `failures` are in words."""

    fault: str
    promise: str
    injections: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, *broken: str) -> None:
        """Count one injection, and in words whatever broke."""
        self.injections += 1
        if broken:
            self.failures.append("; ".join(broken))

    def add_several(self, injections: int, broken: list[str]) -> None:
        """Count injections into one run, and what broke in it: also where none of them met it."""
        self.injections += injections
        self.failures += broken

    def finding(self) -> Finding:
        """Return the finding so far."""
        shown = tuple(self.failures[:SHOWN_DETAILS])
        return Finding(self.fault, self.promise, self.injections, len(self.failures), shown)


def describe(findings: Iterable[Finding]) -> str:
    """Return the findings as a Markdown table, and below it what broke."""
    findings = list(findings)
    lines = ["| fault | promise | injections | failures |", "|---|---|--:|--:|"]
    lines += [f"| {each.fault} | {each.promise} | {each.injections:,} | {each.failures:,} |" for each in findings]
    lines += [f"{each.fault}: {detail}" for each in findings for detail in each.details]
    return "\n".join(lines)
