"""What both servers share: a socket on loopback, who may ask, how much, and short answers to what is wrong."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from rnnpipe.errors import ServiceError

HOST = "127.0.0.1"
JSON = "application/json"
LAST_PORT = 65_535
END_PATIENCE_S = 10
MAX_REASON_CHARACTERS = 300


class Refused(Exception):  # noqa: N818 (an answer, not an error of ours)
    """A request that isn't answered, and why, in a sentence for whoever asked."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason if len(reason) <= MAX_REASON_CHARACTERS else f"{reason[:MAX_REASON_CHARACTERS]}…"
        self.status = status


def listen(port: int, command: str) -> socket.socket:
    """Return a socket that listens on a port of loopback; ServiceError, naming another port, if it is taken.

    Who asks before the server is ready waits.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was left a moment ago
    try:
        listener.bind((HOST, port))
        listener.listen()  # of two that bind a port at once, one is refused here
    except OSError as error:
        listener.close()
        other = port + 1 if port < LAST_PORT else port - 1
        raise ServiceError(f"port {port} can't be had: {error.strerror}", f"{command} --port {other}") from None
    return listener


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def new_app(lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """Return an app that answers to its own names only, and tells a Refused in one line of JSON."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    # another site's page in the user's browser may call itself whatever it likes
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"], www_redirect=False)

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> JSONResponse:
        return JSONResponse({"error": refused.reason}, refused.status)

    @app.exception_handler(HTTPException)
    async def say(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    return app


async def json_body(request: Request, most_bytes: int) -> bytes:
    """Return what a request carries; Refused where it isn't said to be JSON, or is more than `most_bytes`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:  # pages of other sites can't send it without asking first
        raise Refused(f"send JSON, with the header Content-Type: {JSON}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise Refused(f"more than {most_bytes:,} bytes are not read", 413)
    return bytes(body)


def server_of(app: FastAPI) -> uvicorn.Server:
    """Return the server of an app; asked to end, it lets requests under way finish."""
    config = uvicorn.Config(
        app, log_level="error", access_log=False, ws="none", server_header=False,
        timeout_graceful_shutdown=END_PATIENCE_S,
    )  # fmt: skip
    return uvicorn.Server(config)


@contextlib.contextmanager
def answering(app: FastAPI, listener: socket.socket) -> Iterator[None]:
    """Let an app answer within the block, in a thread of its own; at the end, requests under way are finished."""
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="answers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(END_PATIENCE_S + 1)
