"""What the long campaign found, kept a part at a time, and docs/RELIABILITY.md made from it."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from reporting import Finding, describe

from rnnpipe.files import read_json, write_json
from rnnpipe.provenance import code_revision

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "reliability.json"
PAGE = ROOT / "docs" / "RELIABILITY.md"


def keep(part: str, found: list[Finding], seeds: list[int], wall_s: float) -> None:
    """Put what a part found in the place of what it found before."""
    results = read_json(RESULTS) if RESULTS.exists() else {}
    results[part] = {
        "findings": [asdict(each) for each in found], "seeds": seeds, "wall_s": round(wall_s),
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"), "revision": code_revision(),
    }  # fmt: skip
    write_json(RESULTS, results)


def write_page() -> None:
    """Write docs/RELIABILITY.md from all that is kept."""
    results = read_json(RESULTS)
    found = [Finding(**each) for result in results.values() for each in result["findings"]]
    parts = [
        f"| {part} | {', '.join(map(str, result['seeds']))} | {result['wall_s']:,} s | {result['measured_at']} |"
        f" {result['revision']} |"
        for part, result in results.items()
    ]
    text = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    PAGE.write_text(text.format(table=describe(found), parts="\n".join(parts)), encoding="utf-8")
