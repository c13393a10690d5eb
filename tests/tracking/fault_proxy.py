"""An HTTP proxy on loopback in front of a real server, that fails as it is told: what a network does, on purpose.

refuse   the connection is closed, the request isn't passed on
error    the answer is 500, the request isn't passed on
hang     there is no answer until `heal`, the request isn't passed on
delay    the request is passed on after `seconds`, whether or not the client still waits
lose     the request is passed on and carried out, and the answer is lost
"""

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Kind = Literal["refuse", "error", "hang", "delay", "lose"]

TIMEOUT_S = 60.0
OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass
class Fault:
    """What befalls the requests whose "METHOD /path" contains `text`: after the first `skip`, `times` of them."""

    kind: Kind
    text: str
    skip: int
    times: int | None
    seconds: float


class FaultProxy(ThreadingHTTPServer):
    """A proxy in front of the server at `upstream`; notes requests in `seen`, those that failed in `failed`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.seen: list[str] = []
        self.failed: list[str] = []
        self._faults: list[Fault] = []
        self._healed = threading.Event()
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Where clients find the proxy."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fail(
        self, kind: Kind, text: str = "", *, skip: int = 0, times: int | None = None, seconds: float = 0.0
    ) -> None:
        """From here on also fail requests that contain `text`, until `times` are up or `heal` is called."""
        self._healed.clear()
        self._faults.append(Fault(kind, text, skip, times, seconds))

    def heal(self) -> None:
        """Pass everything on from here on; what hangs is let go, unanswered."""
        self._faults = []
        self._healed.set()

    def fault_of(self, request: str) -> Fault | None:
        """Return what befalls a request, given as "METHOD /path"."""
        with self._lock:
            self.seen.append(request)
            for fault in self._faults:
                if fault.text not in request or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                self.failed.append(request)
                return fault
            return None

    def hang(self) -> None:
        """Wait until `heal` is called."""
        self._healed.wait(TIMEOUT_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what this is for."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FaultProxy
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        self.close_connection = True  # so that each request meets its own fate
        body = self._body()
        fault = self.server.fault_of(f"{self.command} {self.path}")
        kind = fault.kind if fault else None
        if kind == "refuse":
            return
        if kind == "hang":
            self.server.hang()
            return
        if kind == "error":
            self._answer(500, [("Content-Type", "application/json")], b'{"error_code": "INTERNAL_ERROR"}')
            return
        if fault is not None and kind == "delay":
            time.sleep(fault.seconds)
        status, headers, content = self._pass_on(body)
        if kind != "lose":
            with contextlib.suppress(OSError):
                self._answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=TIMEOUT_S)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_ONE_CONNECTION}
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body, {**headers, "Host": self.server.upstream})
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in OF_ONE_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
