"""Where the processes of a team find each other: a file of one machine, or a server of the node that leads.

The server listens on one address of its node and asks nobody who they are, like Ray's own: it belongs into a
network of its own. An attempt ends when one of the processes dies; the leading node begins the next one, and the
others follow.
"""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import psutil
from torch.distributed import FileStore, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from rnnpipe.errors import ClusterError
from rnnpipe.files import write_json
from rnnpipe.training.job import ADDRESS, MEETING_FILE, Part

ATTEMPT, ASKED, READY = "attempt", "asked for another", "ready for "  # counters of the server
POLL_S = 0.2
REACHED_WITHIN = timedelta(seconds=20)
FILE, SERVER = "file://", "tcp://"


class Meeting(Protocol):
    """Tells the processes of one node where to meet, attempt by attempt."""

    def next(self) -> str:
        """Begin an attempt, or wait until the leading node has begun one; return where it meets."""

    def is_over(self) -> bool:
        """Say whether the leading node has begun another attempt since, or is gone."""


class FileMeeting:
    """A file for each attempt, which only processes of this machine and user see."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._attempt = folder, 0

    def next(self) -> str:
        """Begin an attempt; return where it meets."""
        path = self._folder / f"log/team-{self._attempt}"
        path.unlink(missing_ok=True)
        self._attempt += 1
        return f"{FILE}{path}"

    def is_over(self) -> bool:
        """Say no: who begins an attempt knows when it is over."""
        return False


class LeadingMeeting:
    """A server on an address of this node; the others find its port in `log/meeting.json`.

    An attempt begins when all nodes are ready for it, and is over when one of them asks for another.
    """

    def __init__(self, folder: Path, part: Part) -> None:
        family = socket.AF_INET6 if ":" in part.host else socket.AF_INET
        listener = socket.create_server((part.host, 0), family=family)  # torch's own listens on all addresses
        port, self._others, self._asked = listener.getsockname()[1], part.nodes - 1, 0
        self._address = f"{part.host}:{port}"
        self._store = TCPStore(
            part.host, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        write_json(folder / MEETING_FILE, {ADDRESS: self._address})

    def next(self) -> str:
        """Begin an attempt, as often as somebody asks, until all nodes are ready for it; return where it meets."""
        while True:
            self._asked, attempt = self._store.add(ASKED, 0), self._store.add(ATTEMPT, 1)
            while not self.is_over():
                if self._store.add(f"{READY}{attempt}", 0) == self._others:
                    return f"{SERVER}{self._address}/{attempt}"
                time.sleep(POLL_S)

    def is_over(self) -> bool:
        """Say whether a node has asked for another attempt since this one began."""
        return self._store.add(ASKED, 0) > self._asked


class FollowingMeeting:
    """The server of the node that leads; ClusterError where that can't be reached any more."""

    def __init__(self, address: str) -> None:
        self._address = address
        with _told(address):
            self._store = connect(address)
            self._attempt = self._store.add(ATTEMPT, 0)  # it began without this node

    def next(self) -> str:
        """Be ready for an attempt that wasn't here before, asked for if there is none; return where it meets."""
        with _told(self._address):
            if self._store.add(ATTEMPT, 0) == self._attempt:
                self._store.add(ASKED, 1)
            while (begun := self._store.add(ATTEMPT, 0)) <= self._attempt:
                time.sleep(POLL_S)
            self._store.add(f"{READY}{begun}", 1)
        self._attempt = begun
        return f"{SERVER}{self._address}/{begun}"

    def is_over(self) -> bool:
        """Say whether the leading node has begun another attempt since, or is gone."""
        try:
            return self._store.add(ATTEMPT, 0) > self._attempt
        except RuntimeError:
            return True


def open_meeting(folder: Path, part: Part) -> Meeting:
    """Return the meeting of the processes of one node; ClusterError where another leads and isn't there."""
    if part.nodes == 1:
        return FileMeeting(folder)
    return FollowingMeeting(part.leader) if part.node else LeadingMeeting(folder, part)


def connect(address: str) -> TCPStore:
    """Return a client of the server at HOST:PORT; RuntimeError where nobody listens."""
    host, _, port = address.rpartition(":")
    return TCPStore(host, int(port), is_master=False, wait_for_workers=False, timeout=REACHED_WITHIN)


def store_at(place: str, size: int) -> Store:
    """Return what the processes of an attempt tell each other their addresses through, at what `next` returned."""
    if place.startswith(FILE):
        return FileStore(place.removeprefix(FILE), size)
    address, _, attempt = place.removeprefix(SERVER).rpartition("/")
    store = connect(address)
    store.set_timeout(timedelta(minutes=10))  # a node that was lost has to be replaced first
    return PrefixStore(attempt, store)


def interface_of(host: str) -> str:
    """Return the network interface that has an address; that of loopback for "". "" where none has."""
    wanted = host or "127.0.0.1"
    with contextlib.suppress(OSError):
        for name, addresses in psutil.net_if_addrs().items():
            if any(each.address == wanted for each in addresses):
                return name
    return ""


@contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(
            f"the node that leads the training can't be reached at {address}: {reason}",
            "nothing, if it was lost: another one takes over; else let the nodes reach each other",
        ) from error
