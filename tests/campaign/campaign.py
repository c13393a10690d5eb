"""The whole campaign: `make faults` runs its short form, `make faults LONG=1` the long one and writes the page.

What forks wants a process without threads, so each part runs in processes of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from reporting import Finding, Tally, describe

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "RELIABILITY.md"
WORKERS = 2
# how often in the short form and in the long one; None: everything there is
COUNTS: dict[str, tuple[int | None, int | None]] = {
    "points": (None, None),
    "kills": (60, 1000),
    "damage": (40, 2000),
    "crowds": (1, 5),
    "disks": (4, 40),
    "answers": (10, 200),
    "configs": (350, 20_000),
    "commands": (450, 5000),
    "downloads": (None, None),
    "files": (None, None),
    "paths": (None, None),
}
SPLIT = {"kills", "damage"}  # these share their count between processes, by seed
IN_A_NAME_SPACE = ("unshare", "--user", "--map-root-user", "--mount")


def points(count: int, seed: int, folder: Path) -> list[Tally]:
    import kills

    return [kills.named_points(kills.Undisturbed(folder), "gru", folder)]


def kills(count: int, seed: int, folder: Path) -> list[Tally]:
    import kills

    return [kills.random_kills(kills.Undisturbed(folder), count, seed, folder)]


def damage(count: int, seed: int, folder: Path) -> list[Tally]:
    import damage
    from kills import Undisturbed

    return damage.damaged_files(Undisturbed(folder), count, seed, folder)


def crowds(count: int, seed: int, folder: Path) -> list[Tally]:
    import crowds

    return [crowds.eight_writers(folder, count)]


def disks(count: int, seed: int, folder: Path) -> list[Tally]:
    import disks
    from kills import Undisturbed

    undisturbed = Undisturbed(folder)
    return [disks.filling_disk(undisturbed, count, folder), disks.read_only_disk(undisturbed, folder)]


def answers(count: int, seed: int, folder: Path) -> list[Tally]:
    import lost_answers

    return [lost_answers.lost_answers(lost_answers.undelivered(folder), count, seed)]


FORKING: dict[str, Callable[[int, int, Path], list[Tally]]] = {
    "points": points, "kills": kills, "damage": damage, "crowds": crowds, "disks": disks, "answers": answers,
}  # fmt: skip


def of_bad_input(part: str, count: int, seed: int) -> list[Finding]:
    import bad_configs
    import command_lines
    import downloads
    import hostile_files
    import path_tricks

    os.environ["NO_PROXY"] = "127.0.0.1"
    parts: dict[str, Callable[[], list[Finding]]] = {
        "configs": lambda: bad_configs.run(count, seed),
        "commands": lambda: command_lines.run(count, seed),
        "downloads": downloads.run,
        "files": hostile_files.run,
        "paths": path_tricks.run,
    }
    return parts[part]()


@click.group()
def campaign() -> None:
    """Run the fault campaign, or one part of it."""


@campaign.command()
@click.argument("part", type=click.Choice(list(COUNTS)))
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--count", default=0)
@click.option("--seed", default=0)
def one(part: str, report: Path, count: int, seed: int) -> None:
    """Run one part and write its findings as JSON."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("RNNPIPE_CAMPAIGN")) as name:
        if part in FORKING:
            from small_job import preload

            preload()
            findings = [tally.finding() for tally in FORKING[part](count, seed, Path(name))]
        else:
            findings = of_bad_input(part, count, seed)
        report.write_text(json.dumps([asdict(each) for each in findings]), encoding="utf-8")


def run_part(part: str, count: int, seed: int = 0) -> list[Finding]:
    """Run a part in processes of its own; return what it found."""
    workers = min(WORKERS, count) if part in SPLIT else 1
    with tempfile.TemporaryDirectory() as folder:
        reports = [Path(folder) / f"{number}.json" for number in range(workers)]
        running = []
        for number, report in enumerate(reports):
            share = count // workers + (number < count % workers)
            command = [sys.executable, __file__, "one", part, str(report)]
            command += ["--count", str(share), "--seed", str(seed + number * 1_000_000)]
            prefix = IN_A_NAME_SPACE if part == "disks" else ()
            running.append(subprocess.Popen([*prefix, *command], env={**os.environ, "PYTHONPATH": str(ROOT)}))
        codes = [each.wait() for each in running]
        if any(codes):
            raise click.ClickException(f"{part}: a process of the campaign ended with {codes}")
        found = [[Finding(**each) for each in json.loads(report.read_text())] for report in reports]
    return [_together(same) for same in zip(*found, strict=True)]


def _together(same: tuple[Finding, ...]) -> Finding:
    details = tuple(detail for each in same for detail in each.details)
    failures, injections = sum(each.failures for each in same), sum(each.injections for each in same)
    return Finding(same[0].fault, same[0].promise, injections, failures, details)


@campaign.command()
@click.option("--long", "is_long", is_flag=True, help="As often as docs/RELIABILITY.md reports; writes it.")
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.argument("parts", nargs=-1, type=click.Choice(list(COUNTS)))
def run(is_long: bool, seed: int, parts: tuple[str, ...]) -> None:
    """Run the PARTS named, or all of them."""
    findings, lines = [], []
    for part in parts or COUNTS:
        started, count = time.monotonic(), COUNTS[part][is_long] or 0
        found = run_part(part, count, seed)
        findings += found
        click.echo(f"{describe(found)}\n")
        workers = WORKERS if part in SPLIT else 1
        seeds = ", ".join(str(seed + number * 1_000_000) for number in range(workers))
        lines.append(f"| {part} | {seeds} | {time.monotonic() - started:,.0f} s |")
    if is_long and not parts:
        write_page(findings, lines)
    if any(each.failures for each in findings):
        raise click.ClickException("promises were broken: see above")


def write_page(findings: list[Finding], lines: list[str]) -> None:
    """Write docs/RELIABILITY.md from what was found."""
    text = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    now = datetime.now(UTC).isoformat(timespec="minutes")
    filled = text.format(table=describe(findings), seeds="\n".join(lines), measured_at=now)
    PAGE.write_text(filled, encoding="utf-8")
    click.echo(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    campaign()
