"""An unfinished training, handed from one machine to another: its newest checkpoint, and the journal up to it.

What is left is what a resumed training makes of its folder: the journal is cut back to the checkpoint's mark and
ends with the checkpoint's own line. So whoever takes it over goes on from there with the same bytes, and the
journal that is seen from outside only grows.
"""

import hashlib
import logging
import shutil
import time
from pathlib import Path
from uuid import uuid4

from rnnpipe.errors import DataError, StorageError
from rnnpipe.exchange import Exchange, Listing
from rnnpipe.files import read_json, scratch_folder, write_bytes
from rnnpipe.training.environment import ENVIRONMENT_FILE
from rnnpipe.training.journal import CHECKPOINT_FOLDER, JOURNAL_FILE, newest_checkpoint

WORK = "work-"
SHARE = 10  # leaving checkpoints takes at most the tenth part of the time
NEWEST = "checkpoint"  # of a listing's facts: the checkpoint's name, which sorts as the training goes on

logger = logging.getLogger(__name__)


def pack(folder: Path, target: Path) -> str:
    """Copy the newest checkpoint of a training, which may be under way, to `target`, with the journal up to it.

    Returns the checkpoint's name; "" where there is none that is whole: it may just have been replaced.
    """
    name = newest_checkpoint(folder)
    if not name:
        return ""
    try:
        (target / CHECKPOINT_FOLDER).mkdir(parents=True)
        for path in (
            Path(CHECKPOINT_FOLDER, f"{name}.safetensors"),
            Path(CHECKPOINT_FOLDER, f"{name}.json"),
            Path(ENVIRONMENT_FILE),
        ):
            shutil.copyfile(folder / path, target / path)
        progress = read_json(target / CHECKPOINT_FOLDER / f"{name}.json")["progress"]
        mark, line = progress["mark"], progress["journal_line"]
        with (folder / JOURNAL_FILE).open("rb") as file:
            begun = file.read(mark["length"])
        if hashlib.sha256(begun).hexdigest() != mark["sha256"]:
            return ""
        (target / JOURNAL_FILE).write_bytes(begun + line.encode())
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return name


class Handover:
    """One attempt at a training: takes over what others left of it, and leaves its own checkpoints."""

    def __init__(self, exchange: Exchange, place: str, folder: Path) -> None:
        """Hand a training in `folder` over at `place`, which is the training's in the exchange."""
        self._exchange, self._place, self._folder = exchange, place, folder
        self._own = f"{place}/{WORK}{uuid4().hex[:12]}"
        self._left, self._has_left, self._next_s = "", False, 0.0

    def take(self) -> str:
        """Bring the newest checkpoint here, if it is newer than what is here; return its name, "" if none came."""
        for newest, place, listing in sorted(
            begun(self._exchange, self._place), reverse=True, key=lambda each: each[0]
        ):
            if newest <= newest_checkpoint(self._folder):
                break
            try:
                with scratch_folder(self._folder.parent) as scratch:
                    self._exchange.fetch(place, listing, scratch / "taken")
                    shutil.rmtree(self._folder)
                    (scratch / "taken").rename(self._folder)
            except DataError as error:  # who left it has just replaced it, or it is damaged
                logger.warning("%s; the training goes on from what is older", error.message)
                continue
            self._left = newest
            return newest
        return ""

    def offer(self) -> None:
        """Leave the newest checkpoint if it is newer than what others left: the training was begun here."""
        others = max((newest for newest, _, _ in begun(self._exchange, self._place)), default="")
        if newest_checkpoint(self._folder) > others:
            self.leave_now()

    def leave(self) -> None:
        """Leave the newest checkpoint for others, if there is a new one; failing is told, and tried again."""
        now = time.monotonic()
        if now < self._next_s or newest_checkpoint(self._folder) <= self._left:
            return
        try:
            self.leave_now()
        except StorageError as error:
            logger.warning("%s; a checkpoint isn't left there", error.message)
        self._next_s = time.monotonic() + SHARE * (time.monotonic() - now)

    def leave_at_last(self) -> None:
        """Leave the newest checkpoint however little time has passed: nobody works here any more."""
        self._next_s = 0.0
        self.leave()

    def leave_now(self) -> None:
        """Leave the newest checkpoint, if it is a new one, and remove those of earlier attempts."""
        with scratch_folder() as scratch:
            packed = scratch / "packed"
            name = pack(self._folder, packed)
            if name <= self._left:
                return
            names = sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
            self._exchange.put(self._own, packed, names, {NEWEST: name})
        if not self._has_left:
            self._remove_older(name)
        self._left, self._has_left = name, True

    def _remove_older(self, own: str) -> None:
        """Remove what others left and nobody needs; who is taken for dead may work on, and leave what is older."""
        for newest, folder, _ in begun(self._exchange, self._place):
            if folder != self._own and newest <= own:
                self._exchange.remove(folder)


def begun(exchange: Exchange, place: str) -> list[tuple[str, str, Listing]]:
    """Return what attempts at a training have left: checkpoint, folder in the exchange, and listing of each."""
    folders = [f"{place}/{name}" for name in exchange.folders(place) if name.startswith(WORK)]
    found = [(folder, exchange.find(folder)) for folder in folders]
    return [
        (str(listing.facts.get(NEWEST, "")), folder, listing) for folder, listing in found if listing is not None
    ]


class Mirror:
    """A journal that grows elsewhere, shown in a folder here as the one of a training beside it would be."""

    def __init__(self, exchange: Exchange, place: str, folder: Path) -> None:
        self._exchange, self._place, self._folder = exchange, place, folder
        self._seen = ""

    def look(self) -> None:
        """Bring what is new of the journal, if anything is; a place that fails for a while is told, no more."""
        try:
            found = begun(self._exchange, self._place)
            newest, place, listing = max(found, default=("", "", None), key=lambda each: each[0])
            if listing is None or newest <= self._seen:
                return
            with scratch_folder() as scratch:
                self._exchange.fetch(place, listing, scratch, [JOURNAL_FILE])
                show(scratch / JOURNAL_FILE, self._folder / JOURNAL_FILE)
        except (DataError, StorageError, KeyError) as error:
            logger.debug("%s", error)
            return
        self._seen = newest


def show(source: Path, target: Path) -> None:
    """Make a journal one that is elsewhere: what is new is appended, so that a reader is told nothing twice."""
    content = source.read_bytes()
    known = target.read_bytes() if target.is_file() else b""
    if known and content.startswith(known):
        with target.open("ab") as file:
            file.write(content[len(known) :])
    else:
        write_bytes(target, content)
