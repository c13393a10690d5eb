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
from pathlib import Path
from typing import TYPE_CHECKING

import click
from page import keep, write_page
from reporting import Finding, Tally, describe

if TYPE_CHECKING:
    from kills import Undisturbed

ROOT = Path(__file__).parents[2]
WORKERS = 2
# how often in the short form and in the long one; None: everything there is
COUNTS: dict[str, tuple[int | None, int | None]] = {
    "points": (0, 1),
    "kills": (3, 1000),
    "damage": (24, 2000),
    "crowds": (1, 5),
    "disks": (4, 40),
    "answers": (6, 200),
    "configs": (350, 20_000),
    "commands": (450, 5000),
    "downloads": (None, None),
    "files": (None, None),
    "paths": (None, None),
}
SPLIT = {"kills", "damage"}  # these share their count between processes, by seed
IN_A_NAME_SPACE = ("unshare", "--user", "--map-root-user", "--mount")


def points(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    import points

    return points.named_points(undisturbed, is_long=bool(count))


def kills(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    import kills

    return [kills.random_kills(undisturbed, count, seed)]


def damage(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    import damage

    return damage.damaged_files(undisturbed, count, seed)


def crowds(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    import crowds

    return [crowds.eight_writers(undisturbed.folder, count)]


def disks(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    import disks

    return [disks.filling_disk(undisturbed, count), disks.read_only_disk(undisturbed)]


def answers(undisturbed: "Undisturbed", count: int, seed: int) -> list[Tally]:
    """Lose answers; last of all, as it starts threads."""
    import lost_answers

    return [lost_answers.lost_answers(lost_answers.undelivered(undisturbed.folder), count, seed)]


Part = Callable[["Undisturbed", int, int], list[Tally]]
FORKING: dict[str, Part] = {
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
    findings = disturb({part: count}, seed) if part in FORKING else of_bad_input(part, count, seed)
    report.write_text(json.dumps([asdict(each) for each in findings]), encoding="utf-8")


@campaign.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.argument("parts", nargs=-1, type=click.Choice(list(FORKING)))
def short(report: Path, parts: tuple[str, ...]) -> None:
    """Run the short form of some parts in this one process and write the findings as JSON."""
    findings = disturb({part: COUNTS[part][0] or 0 for part in parts}, seed=0)
    report.write_text(json.dumps([asdict(each) for each in findings]), encoding="utf-8")


def disturb(counts: dict[str, int], seed: int) -> list[Finding]:
    """Run parts that fork, one after the other, and return what they found."""
    from kills import Undisturbed
    from small_job import preload

    preload()
    with tempfile.TemporaryDirectory(dir=os.environ.get("RNNPIPE_CAMPAIGN")) as name:
        undisturbed = Undisturbed(Path(name))
        tallies = [each for part, count in counts.items() for each in FORKING[part](undisturbed, count, seed)]
    return [tally.finding() for tally in tallies]


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
            return [Finding(part, "the campaign itself comes to its end", 1, 1, (f"exit codes {codes}",))]
        found = [[Finding(**each) for each in json.loads(report.read_text())] for report in reports]
    return [_together(same) for same in zip(*found, strict=True)]


def _together(same: tuple[Finding, ...]) -> Finding:
    details = tuple(detail for each in same for detail in each.details)
    failures, injections = sum(each.failures for each in same), sum(each.injections for each in same)
    return Finding(same[0].fault, same[0].promise, injections, failures, details)


@campaign.command()
@click.option("--long", "is_long", is_flag=True, help="As often as docs/RELIABILITY.md reports; keeps it there.")
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.argument("parts", nargs=-1, type=click.Choice(list(COUNTS)))
def run(is_long: bool, seed: int, parts: tuple[str, ...]) -> None:
    """Run the PARTS named, or all of them."""
    findings = []
    for part in parts or COUNTS:
        started, count = time.monotonic(), COUNTS[part][is_long] or 0
        found = run_part(part, count, seed)
        findings += found
        click.echo(f"{describe(found)}\n")
        if is_long:
            seeds = [seed + number * 1_000_000 for number in range(WORKERS if part in SPLIT else 1)]
            keep(part, found, seeds, time.monotonic() - started)
            write_page()
    if any(each.failures for each in findings):
        raise click.ClickException("promises were broken: see above")


if __name__ == "__main__":
    campaign()
