"""Many clients at once: how many requests a server answers in a second, and how long each one waits."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from benchmarks.scaling.backlog import WAITED

TIMEOUT_S = 60.0
QUIET_LIMIT_S = 300.0  # a server that is still slow then is told of
QUICK_TIMES = 5  # in a row and each on a new connection, as any worker of a server may have a backlog
MARGIN_S = 0.1  # of what takes milliseconds
PAUSE_S = 1.0

Request = Callable[[httpx.Client, int], httpx.Response]  # of a client, with its number


def crowd_rows(
    addresses: Sequence[str], asked: Mapping[str, Request], clients: Sequence[int], seconds: float, **named: Any
) -> Iterator[dict[str, Any]]:
    """Yield what more and more clients get of each request, a row each, with what is `named`.

    After each row it waits until the servers answer as quickly as before the first: what clients gave up is worked
    on nevertheless, and would be measured with the next row. `quiet_after_s` is how long it took, None where they
    didn't within five minutes.
    """
    usual_s = {name: usual_wait_s(addresses, request) for name, request in asked.items()}
    for name, request in asked.items():
        for count in clients:
            got = ask_together(addresses, request, count, seconds)
            yield {**named, "asked": name, **got, WAITED: wait_until_quick(addresses, request, usual_s[name])}


def ask_together(addresses: Sequence[str], request: Request, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask as fast as they get answers, for some seconds; return what they got.

    They take turns in which of the servers at these addresses each one asks.
    `per_s` answers a second in all, `median_ms` and `p95_ms` of an answer, `errors` of all kinds. What isn't a
    success (2xx) is an error and no answer.
    """
    waits_s: list[float] = []
    errors: list[str] = []
    end_s = time.perf_counter() + seconds

    def ask(number: int) -> None:
        with httpx.Client(base_url=addresses[number % len(addresses)], timeout=TIMEOUT_S) as client:
            while True:  # each at least once
                began_s = time.perf_counter()
                try:
                    answer = request(client, number)
                    if answer.is_success:
                        waits_s.append(time.perf_counter() - began_s)
                    else:
                        errors.append(str(answer.status_code))
                except httpx.HTTPError as error:
                    errors.append(type(error).__name__)
                if time.perf_counter() >= end_s:
                    return

    began_s = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waits_ms = sorted(1000 * wait_s for wait_s in waits_s) or [0.0]
    return {
        "clients": clients,
        "per_s": len(waits_s) / (time.perf_counter() - began_s),
        "median_ms": statistics.median(waits_ms),
        "p95_ms": waits_ms[min(len(waits_ms) - 1, int(0.95 * len(waits_ms)))],
        "answers": len(waits_s),
        "errors": len(errors),
        "kinds_of_errors": sorted(set(errors)),
    }


def usual_wait_s(addresses: Sequence[str], request: Request) -> float:
    """Return how long a client waits that has the servers for itself; the longest possible if none answers."""
    waits_s = [_wait_s(address, request) for _ in range(QUICK_TIMES) for address in addresses]
    known = [wait_s for wait_s in waits_s if wait_s is not None]
    return statistics.median(known) if known else TIMEOUT_S


def wait_until_quick(addresses: Sequence[str], request: Request, usual_s: float) -> float | None:
    """Wait until one client alone is answered about as quickly as usual, some times in a row, by each server.

    Return the seconds it took, None if it took too long.
    """
    began_s, quick = time.perf_counter(), 0
    while quick < QUICK_TIMES * len(addresses):
        if time.perf_counter() - began_s > QUIET_LIMIT_S:
            return None
        wait_s = _wait_s(addresses[quick % len(addresses)], request)
        if wait_s is not None and wait_s <= 2 * usual_s + MARGIN_S:
            quick += 1
        else:
            quick = 0
            time.sleep(PAUSE_S)
    return time.perf_counter() - began_s


def _wait_s(address: str, request: Request) -> float | None:
    """Return how long one client waits on a new connection; None where the answer isn't a success."""
    with httpx.Client(base_url=address, timeout=TIMEOUT_S) as client:
        began_s = time.perf_counter()
        try:
            is_answered = request(client, 0).is_success
        except httpx.HTTPError:
            return None
        return time.perf_counter() - began_s if is_answered else None
