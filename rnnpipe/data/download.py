"""One download over HTTP: streamed to a file, bounded in bytes and in time, tried again where that may help."""

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

TOO_MANY_REQUESTS = 429
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "rnnpipe"}


class SourceError(Exception):
    """What is wrong with one source of a file, in a few words; the next source is tried."""


@dataclass(frozen=True)
class Limits:
    """Bounds on one download.

    `patience_s` is the time a server has to begin; from then on each received byte buys
    1 / `slowest_bytes_per_s` seconds more, so that neither silence nor a drip holds a run up.
    """

    max_bytes: int = 512 << 20
    connect_s: float = 10.0
    read_s: float = 30.0
    patience_s: float = 60.0
    slowest_bytes_per_s: float = 16 << 10
    attempts: int = 3
    retry_wait_s: float = 0.5


def download(url: str, target: Path, limits: Limits) -> None:
    """Write what `url` answers to `target`, unchecked; SourceError says why there is nothing to use.

    Lost connections, 429 and 5xx are tried again after a short wait; redirects lead to http(s) only.
    """
    retrying = Retrying(
        stop=stop_after_attempt(limits.attempts),
        wait=wait_exponential(multiplier=limits.retry_wait_s, max=10 * limits.retry_wait_s),
        retry=retry_if_exception(_may_pass),
        reraise=True,
    )
    try:
        retrying(_attempt, url, target, limits)
    except (httpx.InvalidURL, UnicodeError, ExceptionGroup):  # the message may quote the password
        raise SourceError("not a valid URL") from None
    except httpx.HTTPStatusError as error:
        raise SourceError(f"HTTP {error.response.status_code} {error.response.reason_phrase}") from None
    except (httpx.TimeoutException, TimeoutError) as error:
        raise SourceError(f"no answer in time, or too slow ({type(error).__name__})") from None
    except httpx.HTTPError as error:
        raise SourceError(f"{type(error).__name__}: {error}") from None


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code == TOO_MANY_REQUESTS
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)


def _attempt(url: str, target: Path, limits: Limits) -> None:
    # Only a cancelled coroutine can leave a server that drips its headers; the event loop gets a thread of
    # its own because the caller's may run one already.
    with start_blocking_portal() as portal:
        portal.call(_stream, url, target, limits)


async def _stream(url: str, target: Path, limits: Limits) -> None:
    address = httpx.URL(url)
    timeout = httpx.Timeout(limits.read_s, connect=limits.connect_s)
    received = 0
    with anyio.fail_after(limits.patience_s) as scope, target.open("wb") as file:
        async with (
            httpx.AsyncClient(
                timeout=timeout, headers=HEADERS, follow_redirects=True, verify=_certificates()
            ) as client,
            # Credentials go into the header: httpx logs the URLs it asks for.
            client.stream("GET", address.copy_with(userinfo=b""), auth=_credentials(address)) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                received += len(chunk)
                if received > limits.max_bytes:
                    raise SourceError(f"more than {limits.max_bytes:,} bytes")
                file.write(chunk)
                scope.deadline += len(chunk) / limits.slowest_bytes_per_s


@cache
def _certificates() -> ssl.SSLContext:
    """Return the trusted certificates; reading them takes longer than a small file."""
    return httpx.create_ssl_context()


def _credentials(address: httpx.URL) -> tuple[str, str] | None:
    return (address.username, address.password) if address.userinfo else None
