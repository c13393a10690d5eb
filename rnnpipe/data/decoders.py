"""Many image files as pixels, in order and in bounded memory, decoded by several processes at once.

Threads of one process would share its interpreter, which Pillow frees while it decodes; but of a small image
much of the time is spent around that. And where a decoder crashes, its process dies, and not the run. A process
is given lines of JSON (the paths of some images) and answers each with a line of JSON (what is wrong with them)
and the pixels as they are; it ends when its input does.
"""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from rnnpipe.data.decoding import Form, decode_image
from rnnpipe.data.raw import Pixels
from rnnpipe.errors import DataError

CHUNK_BYTES, MAX_CHUNK = 1 << 20, 64  # of what a process is given at a time
FEWEST = 200  # images that are worth starting processes for, which takes them some tenths of a second
AHEAD = 2  # chunks a process that wait to be taken


class Chunk(NamedTuple):
    """Some images, in order, and in words what is wrong with those that couldn't be decoded (and are black)."""

    pixels: Pixels
    mistakes: tuple[str, ...]


def decoded(paths: Sequence[str], form: Form, processes: int) -> Generator[Chunk, None, None]:
    """Yield images in the order of their paths; memory holds a few chunks of about 1 MiB for each process.

    Few images, or one process, are decoded right here. DataError where a process dies.
    """
    length = max(1, min(MAX_CHUNK, CHUNK_BYTES // int(np.prod(form.shape))))
    chunks = (paths[start : start + length] for start in range(0, len(paths), length))
    if processes < 2 or len(paths) < FEWEST:
        yield from (decode_chunk(chunk, form) for chunk in chunks)
        return
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(processes, "decoders"))
        idle = SimpleQueue[Decoder]()
        for _ in range(processes):
            idle.put(stack.enter_context(Decoder(form)))
        # the processes end first, so that no thread waits for one when the pool is left

        def work(chunk: Sequence[str]) -> Chunk:
            decoder = idle.get()
            try:
                return decoder.decode(chunk)
            finally:
                idle.put(decoder)

        pending = deque[Future[Chunk]]()
        stack.callback(lambda: [each.cancel() for each in pending])
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) >= (1 + AHEAD) * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def decode_chunk(paths: Sequence[str], form: Form) -> Chunk:
    """Return images; those that can't be decoded are black, and told of."""
    pixels, mistakes = np.zeros((len(paths), *form.shape), np.uint8), []
    for place, path in enumerate(paths):
        try:
            pixels[place] = decode_image(Path(path), *form)
        except DataError as error:
            mistakes.append(error.message)
    return Chunk(pixels, tuple(mistakes))


class Decoder:
    """A process that decodes; it is gone after the block."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def __enter__(self) -> Self:
        command = [sys.executable, "-P", "-m", __name__, json.dumps(self._form)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for who asked
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # of a question that it didn't read
                stream.close()

    def decode(self, paths: Sequence[str]) -> Chunk:
        """Return images; DataError names them where the process dies over them."""
        source, target = self._process.stdout, self._process.stdin
        assert source is not None and target is not None
        pixels = np.empty((len(paths), *self._form.shape), np.uint8)
        try:
            target.write(f"{json.dumps(paths)}\n".encode())
            target.flush()
            mistakes = json.loads(source.readline())
            content: Any = pixels.reshape(-1).data
            if source.readinto(content) != pixels.nbytes:  # type: ignore[attr-defined]
                raise EOFError
        except (OSError, ValueError, EOFError):
            raise DataError(
                f"{paths[0]} to {paths[-1]}: the process that decodes these {len(paths)} images has died",
                "one of them may be damaged, or memory may have run out; the same command goes on from here",
            ) from None
        return Chunk(pixels, tuple(mistakes))


def serve(form: Form, source: Any, target: Any) -> None:
    """Answer each line of paths with what is wrong and the pixels, until there are no more."""
    for line in source:
        chunk = decode_chunk(json.loads(line), form)
        target.write(f"{json.dumps(chunk.mistakes)}\n".encode())
        target.write(chunk.pixels.tobytes())
        target.flush()


if __name__ == "__main__":
    size, colour = json.loads(sys.argv[1])
    serve(Form((size[0], size[1]), colour), sys.stdin.buffer, sys.stdout.buffer)
