"""One training on several nodes of a cluster: who leads is told to the others through the exchange.

The leading node trains as if it were alone, and leaves checkpoints and the result. The others lend processes.
When a node is lost, a new one takes its part; when that was the leading one, the others meet where the new one is.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from rnnpipe.errors import ClusterError, StorageError
from rnnpipe.exchange import Exchange, Listing
from rnnpipe.files import read_json, scratch_folder
from rnnpipe.orders import Order, output_of
from rnnpipe.training.job import ADDRESS, MEETING_FILE

POLL_S, LOOK_S = 1.0, 5.0

Lend = Callable[[Path, str, Callable[[], None]], None]

logger = logging.getLogger(__name__)


def meeting_of(asked: Order) -> str:
    """Return the folder in the exchange whose facts have the address where the nodes of a run meet."""
    return f"{asked.place}/meeting-{asked.run}"


class Announcement:
    """Tells the other nodes where to meet, once the process that leads listens there."""

    def __init__(self, exchange: Exchange, asked: Order, folder: Path) -> None:
        self._exchange, self._place, self._path = exchange, meeting_of(asked), folder / MEETING_FILE
        self._told = ""
        self.end()  # of an earlier attempt

    def tell(self) -> None:
        """Tell where it is, if that is news; failing is told, and tried again."""
        if not self._path.exists():
            return
        address = str(read_json(self._path)[ADDRESS])
        if address == self._told:
            return
        try:
            self._exchange.put(self._place, self._path.parent, [], {ADDRESS: address})
        except StorageError as error:
            logger.warning("%s; the other nodes don't know yet where to meet", error.message)
            return
        self._told = address

    def end(self) -> None:
        """Forget the address: it is no part of what the training leaves."""
        self._path.unlink(missing_ok=True)


def take_part(exchange: Exchange, asked: Order, lend: Lend) -> Listing:
    """Lend processes to a training that another node leads, until that has left its output; return nothing else.

    `lend(folder, address, watch)` works in a new folder, for who leads at that address, and calls `watch` now and
    then, which ends it when nobody leads there any more. Its ClusterErrors are no end: another node will lead.
    """
    while not _look(exchange, output_of(asked.place)):
        if found := _look(exchange, meeting_of(asked)):
            with scratch_folder() as folder:
                try:
                    lend(folder / "training", str(found.facts[ADDRESS]), Watch(exchange, asked, found))
                except ClusterError as error:
                    logger.info("%s", error.message)
        time.sleep(POLL_S)
    return Listing(files={}, facts={})


class Watch:
    """Raises ClusterError when called once a training has ended, or is led from elsewhere."""

    def __init__(self, exchange: Exchange, asked: Order, meeting: Listing) -> None:
        self._exchange, self._asked, self._meeting = exchange, asked, meeting
        self._looked_s = time.monotonic()

    def __call__(self) -> None:
        """Look every few seconds."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        found = _look(self._exchange, meeting_of(self._asked))
        if found not in (None, self._meeting) or _look(self._exchange, output_of(self._asked.place)):
            raise ClusterError("the training is led from elsewhere now, or has ended")


def _look(exchange: Exchange, place: str) -> Listing | None:
    """Return a listing; None also where the exchange fails, which is told."""
    try:
        return exchange.find(place)
    except StorageError as error:
        logger.warning("%s", error.message)
        return None
