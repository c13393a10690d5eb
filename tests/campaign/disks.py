"""Disks: one that fills at every size up to the one that suffices, and one that can't be written.

The small disk is a file system in memory, mounted in a name space of its own: `unshare --user --map-root-user
--mount`, which Linux allows to any user unless it was forbidden.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kills import Undisturbed, finish
from reporting import Tally
from small_job import Trial, config_of

VARIANT = "rnn"
FULL_PROMISE = "told in words, nothing lost; with room again the same command ends as the undisturbed run did"
READ_ONLY_PROMISE = "told in words; writable again, the same command ends as the undisturbed run did"
MARGIN_BYTES = 4 << 20
PAGE_BYTES = 4096


def mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)  # noqa: S607


@contextlib.contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """Yield a folder with a file system of its own."""
    place.mkdir()
    mount(place, options)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607


def size_of(folder: Path) -> int:
    """Return the bytes that a workspace takes on such a disk."""
    return sum(-(-path.stat().st_size // PAGE_BYTES) * PAGE_BYTES for path in folder.rglob("*") if path.is_file())


def filling_disk(undisturbed: Undisturbed, steps: int) -> Tally:
    """Give a run more room step by step; each step it fails in words or ends, and at last it ends as it should."""
    tally = Tally("the disk fills", FULL_PROMISE)
    expected, _ = undisturbed.of(VARIANT)
    needed = size_of(undisturbed.folder / f"undisturbed-{VARIANT}") + MARGIN_BYTES
    with disk(undisturbed.folder / "small-disk", f"size={PAGE_BYTES}") as place:
        trial = Trial(place / "trial", config_of(VARIANT), output=undisturbed.folder / "small-disk.txt")
        for step in range(1, steps + 1):
            size = -(-needed * step // steps // PAGE_BYTES) * PAGE_BYTES
            mount(place, f"remount,size={size}")
            code = trial.run()
            is_told = trial.is_clear() and 0 <= code < 9
            tally.add(*([] if is_told else [f"{size:,} bytes: exit code {code}: {trial.told()}"]))
            trial.output.unlink()
        tally.add(*finish(trial, expected))
    return tally


def read_only_disk(undisturbed: Undisturbed) -> Tally:
    """Run where nothing can be written, before the first run and after an interrupted one."""
    tally = Tally("the workspace is read-only", READ_ONLY_PROMISE)
    expected, _ = undisturbed.of(VARIANT)
    with disk(undisturbed.folder / "read-only-disk", "size=200m") as place:
        trial = Trial(place / "trial", config_of(VARIANT), output=undisturbed.folder / "read-only-disk.txt")
        for is_begun in (False, True):
            if is_begun:
                assert trial.run(fault="after-rename/weights.safetensors:1")
            mount(place, "remount,ro")
            code = trial.run()
            tally.add(*([] if 0 < code < 9 and trial.is_clear() else [f"exit code {code}: {trial.told()}"]))
            mount(place, "remount,rw")
        tally.add(*finish(trial, expected))
    return tally
