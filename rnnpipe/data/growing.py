"""A .npy file of images that cost time to make: it grows image by image, and a killed run goes on where it was.

What is safe stands in log/made.json beside it: how many images, and the SHA-256 of the file up to there.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from rnnpipe.data.arrays import check_pixels
from rnnpipe.data.raw import LazyImages
from rnnpipe.data.splits import Indices
from rnnpipe.errors import DataError
from rnnpipe.files import CHUNK_BYTES, read_json, write_json

MADE_FILE = "log/made.json"
SAVE_EVERY_S, TELL_EVERY_S = 1.0, 10.0
MAX_NAMED = 10
FIX = "replace these files, or remove them"

Tell = Callable[[str], None]


class Growing:
    """A file under way: written bytes, their running digest, and the images in it."""

    def __init__(self, path: Path, file: BinaryIO, images: int, digest: Any) -> None:
        self.path, self.images = path, images
        self._file, self._digest, self._saved = file, digest, time.monotonic()

    @classmethod
    def open(cls, path: Path, header: bytes, item_bytes: int) -> Self:
        """Go on with the images that are safe; without any, begin."""
        images = _made(path.parent).get(path.name, {}).get("images", 0)
        if images and path.exists():
            file: BinaryIO = path.open("r+b")
            digest = _digest_of(file, size := len(header) + images * item_bytes)
            if digest.hexdigest() == _made(path.parent)[path.name]["sha256"]:
                file.truncate(size)
                file.seek(size)
                return cls(path, file, images, digest)
            file.close()
        file = path.open("wb")
        file.write(header)
        return cls(path, file, 0, hashlib.sha256(header))

    def append(self, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        """Write some images, and make all safe where that was long ago."""
        content = pixels.tobytes()
        self._file.write(content)
        self._digest.update(content)
        self.images += len(pixels)
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Make what was written safe."""
        self._file.flush()
        os.fsync(self._file.fileno())
        mark = {"images": self.images, "sha256": self._digest.hexdigest()}
        write_json(self.path.parent / MADE_FILE, {**_made(self.path.parent), self.path.name: mark})
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class UnusableImagesError(DataError):
    """Images that can't be used: a line each in `mistakes`, of which the first ten are told."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        more = f"\n  and {len(mistakes) - MAX_NAMED:,} more" if len(mistakes) > MAX_NAMED else ""
        super().__init__("\n  ".join(mistakes[:MAX_NAMED]) + more, FIX)
        self.mistakes = mistakes


def write_lazily(
    path: Path, images: LazyImages, chosen: Indices, tell: Tell, *, maker: str = "the caller"
) -> None:
    """Write the chosen images as one .npy file, going on where a killed process was; `tell` hears how far it is.

    UnusableImagesError names the images that can't be used: it goes through the rest before. DataError names the
    `maker` of images that aren't uint8 of one shape.
    """
    shape = (len(chosen), *images.shape[1:])
    growing = Growing.open(path, _header(shape), int(np.prod(shape[1:])))
    progress, mistakes = Progress(path.stem, len(chosen), growing.images, tell), list[str]()
    try:
        with closing(images.chunks(chosen[growing.images :])) as chunks:
            for chunk in chunks:
                mistakes += chunk.mistakes
                if not mistakes:  # what comes after a gap would be in the wrong place
                    check_pixels(chunk.pixels, (len(chunk.pixels), *shape[1:]), maker)
                    growing.append(chunk.pixels)
                progress.count(len(chunk.pixels))
        growing.save()
    finally:
        growing.close()
    if mistakes:
        raise UnusableImagesError(mistakes)


@dataclass
class Progress:
    """Tells every ten seconds how far it is, and how long the rest takes if it goes on as it went here."""

    name: str
    total: int
    before: int
    tell: Tell

    def __post_init__(self) -> None:
        self._done, self._began = self.before, time.monotonic()
        self._told = self._began
        if self.before:
            self.tell(f"goes on: {self.before:,} of {self._of} are there")

    @property
    def _of(self) -> str:
        return f"{self.total:,} {self.name.replace('_', ' ')}"

    def count(self, images: int) -> None:
        """Count so many more images."""
        self._done += images
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S:
            self._told, made_here = now, self._done - self.before
            left_s = (now - self._began) / made_here * (self.total - self._done)
            self.tell(f"{self._done:,} of {self._of} decoded, about {left_s:,.0f} s left")


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _made(folder: Path) -> dict[str, Any]:
    """Return what is safe, by file; nothing where that can't be read."""
    try:
        made = read_json(folder / MADE_FILE)
        return {
            str(name): {"images": int(mark["images"]), "sha256": mark["sha256"]} for name, mark in made.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _digest_of(file: BinaryIO, size: int) -> Any:
    """Return the running digest of a file's first bytes, or of all where there are fewer."""
    digest = hashlib.sha256()
    while content := file.read(min(CHUNK_BYTES, size)):
        digest.update(content)
        size -= len(content)
    return digest
