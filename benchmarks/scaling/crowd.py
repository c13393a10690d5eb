"""Many clients at once: how many requests a server answers in a second, and how long each one waits."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

TIMEOUT_S = 60.0

Request = Callable[[httpx.Client, int], httpx.Response]  # of a client, with its number


def ask_together(addresses: Sequence[str], request: Request, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask as fast as they get answers, for some seconds; return what they got.

    They take turns in which of the servers at these addresses each one asks.
    `per_s` answers a second in all, `median_ms` and `p95_ms` of an answer, `errors` of all kinds.
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
                    waits_s.append(time.perf_counter() - began_s)
                    if not answer.is_success:
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
