"""Mirrors that are wrong in every way, for each of a dataset's four files: the right bytes are kept, or none."""

import contextlib
import gzip
import hashlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from reporting import Finding, Tally

from rnnpipe.catalogue import DatasetSpec, SourceFile
from rnnpipe.data.download import Limits
from rnnpipe.data.mirrors import fetch_files
from rnnpipe.errors import DownloadError

LIMITS = Limits(connect_s=10, read_s=10, patience_s=20, retry_wait_s=0.01)
IMPATIENT = replace(LIMITS, patience_s=1.0)  # where a mirror drips
SECONDS = 20.0
PROMISE = "the right bytes, or none and every source named"
ROLES = ("train_images", "train_labels", "test_images", "test_labels")
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
BOMB = gzip.compress(bytes((0, 0, 8, 1)) + (10).to_bytes(4, "big") + bytes(16 << 20), compresslevel=1)
NO_URLS = (
    "file:///etc/hosts", "FILE:/x", "", "x", "http://[::1", "http://127.0.0.1:99999", "http://xn--a", "data:,x",
    "http://a b",    "//host", "http:/etc", "http://127.0.0.1:9/\ud800", "http://127.0.0.1:9/\0", "http://%00",
)  # fmt: skip


def idx_file(role: str) -> bytes:
    """Return the IDX file of a role, gzipped."""
    shape = (12, 6, 5) if role.endswith("images") else (12,)
    values = np.random.default_rng(len(role)).integers(0, 3, shape, dtype=np.uint8)
    lengths = b"".join(length.to_bytes(4, "big") for length in shape)
    return gzip.compress(bytes((0, 0, 8, len(shape))) + lengths + values.tobytes(), mtime=0)


FILES = {f"{role}.gz": idx_file(role) for role in ROLES}


def spec_of(digest: str) -> DatasetSpec:
    """Return the dataset whose digests, of the content or of the archive, are those of FILES."""
    files = []
    for role in ROLES:
        content = FILES[f"{role}.gz"]
        hashed = gzip.decompress(content) if digest == "sha256" else content
        files.append(SourceFile(role, f"{role}.gz", **{digest: hashlib.sha256(hashed).hexdigest()}))
    return DatasetSpec("campaign", load="", classes=("a", "b", "c"), files=tuple(files))


class Handler(BaseHTTPRequestHandler):
    """Serves /FAULT/BROKEN FILE/NAME: the file as it is, unless it is the one that is to be broken."""

    def do_GET(self) -> None:
        _, fault, broken, name = self.path.split("/", 3)
        if broken in (name, "all"):
            FAULTS[fault](self, FILES.get(name, b""))
        else:
            self.reply(FILES[name])

    def reply(self, content: bytes, status: int = 200, length: int | None = None, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def drip(self, content: bytes) -> None:
        """Send a byte a second, as long as somebody takes them."""
        self.send_response(200)
        self.end_headers()
        for byte in content:
            self.wfile.write(bytes((byte,)))
            time.sleep(1)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def flipped(content: bytes) -> bytes:
    decoded = bytearray(gzip.decompress(content))
    decoded[-1] ^= 1
    return gzip.compress(bytes(decoded), mtime=0)


Fault = Callable[[Handler, bytes], None]
FAULTS: dict[str, Fault] = {
    "truncated": lambda handler, content: handler.reply(content[:-9]),
    "byte-of-content-flipped": lambda handler, content: handler.reply(flipped(content)),
    "byte-of-archive-flipped": lambda handler, content: handler.reply(content[:30] + b"\xff\0" + content[32:]),
    "html-with-200": lambda handler, content: handler.reply(HTML),
    "403": lambda handler, content: handler.reply(HTML, 403),
    "404": lambda handler, content: handler.reply(HTML, 404),
    "503": lambda handler, content: handler.reply(HTML, 503),
    "redirect-to-html": lambda handler, content: handler.reply(b"", 302, location="/html-with-200/all/x"),
    "redirect-to-a-file": lambda handler, content: handler.reply(b"", 302, location="file:///etc/hosts"),
    "redirect-in-a-circle": lambda handler, content: handler.reply(b"", 302, location=handler.path),
    "redirect-to-no-port": lambda handler, content: handler.reply(b"", 302, location="http://127.0.0.1:99999/"),
    "redirect-to-no-host": lambda handler, content: handler.reply(b"", 302, location="http://xn--a/"),
    "a-byte-a-second": lambda handler, content: handler.drip(content),
    "gzip-bomb": lambda handler, content: handler.reply(BOMB),
    "length-too-long": lambda handler, content: handler.reply(content, length=len(content) + 9),
    "length-too-short": lambda handler, content: handler.reply(content, length=len(content) - 9),
    "length-negative": lambda handler, content: handler.reply(content[:-1], length=-5),
    "empty": lambda handler, content: handler.reply(b""),
    "another-file": lambda handler, content: handler.reply(FILES["test_labels.gz"][:-1] + b"\x01"),
}  # fmt: skip


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what this is about."""


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    """Yield the address of a server on loopback whose paths name the fault."""
    server = QuietServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def broken_by(mirrors: list[str], digest: str, *, is_there: bool) -> list[str]:
    """Fetch the files from mirrors, the last of which is good if `is_there`; return what broke."""
    started_s, broken = time.perf_counter(), []
    limits = IMPATIENT if any("a-byte-a-second" in url for url in mirrors) else LIMITS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            fetch_files(spec_of(digest), mirrors, folder, limits=limits)
            broken += [] if is_there else ["bad files were taken"]
        except DownloadError as error:
            broken += ["the good mirror wasn't used"] if is_there else []
            broken += [f"{url} isn't named" for url in mirrors if url.isprintable() and url not in str(error)]
        except Exception as error:
            broken += [f"{type(error).__name__}: {error}"]
        for path in folder.iterdir():
            served = FILES.get(f"{path.name}.gz")
            right = path.suffix == ".json" if served is None else path.read_bytes() == gzip.decompress(served)
            broken += [] if right else [f"{path.name} was left, and isn't right"]
    wall_s = time.perf_counter() - started_s
    return broken + ([f"it took {wall_s:.0f} s"] if wall_s > SECONDS else [])


def run() -> list[Finding]:
    """Put every fault into each of the four files: alone, before a good mirror, and with other bad ones."""
    findings = []
    with mirror() as address:
        for fault in FAULTS:
            tally = Tally(
                f"download: {fault.replace('-', ' ')}", "the right bytes, or none and every source named"
            )
            for number, broken in enumerate(FILES):
                digest = ("sha256", "archive_sha256")[number % 2]
                bad, good = f"{address}/{fault}/{broken}", f"{address}/good/none"
                worse = f"{address}/404/{broken}"
                for mirrors, is_there in (([bad], False), ([bad, good], True), ([bad, worse], False)):
                    tally.add(*broken_by(mirrors, digest, is_there=is_there))
            findings.append(tally.finding())
        tally = Tally("download: what is no URL", "nothing but http(s) is asked, every source is named")
        for url in NO_URLS:
            tally.add(*broken_by([url], "sha256", is_there=False))
            tally.add(*broken_by([url, f"{address}/good/none"], "sha256", is_there=True))
        findings.append(tally.finding())
    return findings
