"""Small datasets made on the spot, and a mirror on 127.0.0.1 that serves them with or without faults."""

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from rnnpipe.catalogue import DatasetSpec, SourceFile
from rnnpipe.data.download import Limits


def idx_bytes(array):
    """Return an array of unsigned bytes in the IDX format."""
    dimensions = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + dimensions + array.tobytes()


@dataclass(frozen=True)
class IdxDataset:
    """Arrays, the gzip files a mirror serves of them, and the spec whose digests fit."""

    arrays: dict[str, np.ndarray]
    served: dict[str, bytes]
    spec: DatasetSpec


@pytest.fixture
def make_idx():
    """Make an IdxDataset; `change(arrays)` alters it before the digests are taken."""

    def make(change=lambda arrays: None, digest="sha256", **spec_fields):
        random = np.random.default_rng(0)
        arrays = {}
        for role, count in (("train", 30), ("test", 12)):
            arrays[f"{role}_images"] = random.integers(0, 256, (count, 6, 5), dtype=np.uint8)
            arrays[f"{role}_labels"] = np.arange(count, dtype=np.uint8) % 3
        change(arrays)
        served, files = {}, []
        for role, array in arrays.items():
            name = f"{role}-idx{array.ndim}-ubyte.gz"
            content = idx_bytes(array)
            served[name] = gzip.compress(content, mtime=0)
            hashed = content if digest == "sha256" else served[name]
            files.append(SourceFile(role, name, **{digest: hashlib.sha256(hashed).hexdigest()}))
        fields = {"torchvision_class": "MNIST", "classes": ("a", "b", "c"), **spec_fields}
        return IdxDataset(arrays, served, DatasetSpec("test", load="", files=tuple(files), **fields))

    return make


@dataclass
class Mirror:
    """A running mirror. `answer` may be set to take over from serving `files`: answer(handler, content)."""

    url: str
    files: dict[str, bytes]
    answer: Callable | None = None
    asked: list[str] = field(default_factory=list)

    def respond(self, handler):
        name = handler.path.rpartition("/")[2]
        self.asked.append(name)
        content = self.files.get(name)
        if self.answer:
            self.answer(handler, content)
        elif content is None:
            handler.reply(b"no such file", status=404)
        else:
            handler.reply(content)


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


@pytest.fixture
def start_mirror(monkeypatch) -> Iterator[Callable[..., Mirror]]:
    """Start any number of mirrors; they are stopped after the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    started = []

    def start(files, answer=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirror.respond(self)

            def reply(self, content, *, status=200, length=None, **headers):
                """Send a whole answer; `length` overrides the true Content-Length."""
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        server = QuietServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = False
        mirror = Mirror(f"http://127.0.0.1:{server.server_port}/base", files, answer)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        started.append((server, thread))
        return mirror

    yield start
    for server, thread in started:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_other_mirrors(monkeypatch):
    """No test asks anything beyond 127.0.0.1."""
    monkeypatch.delenv("RNNPIPE_MIRRORS", raising=False)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", [])
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", [])
    monkeypatch.setattr("torchvision.datasets.KMNIST.mirrors", [])
    monkeypatch.setattr("torchvision.datasets.EMNIST.url", "http://127.0.0.1:9/none.zip")


@pytest.fixture
def quick_limits():
    return Limits(connect_s=10, read_s=10, patience_s=20, retry_wait_s=0.01)


@pytest.fixture
def make_folder(tmp_path):
    """Make a folder of images: make({"cat": 5, "dog": 5}) or make({"cat": {"name.png": image}})."""

    random = np.random.default_rng(0)

    def noise(count):
        pixels = random.integers(0, 256, (count, 9, 7), dtype=np.uint8)
        return {f"{place}.png": Image.fromarray(image) for place, image in enumerate(pixels)}

    def make(classes):
        root = tmp_path / "pictures"
        for name, images in classes.items():
            (root / name).mkdir(parents=True)
            named = noise(images) if isinstance(images, int) else images
            for file_name, image in named.items():
                image.save(root / name / file_name)
        return root

    return make
