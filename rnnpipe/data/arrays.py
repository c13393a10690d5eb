"""Arrays that may be larger than memory: written, read and summed in pieces."""

import io
import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnpipe.data.raw import WHITE, Pixels
from rnnpipe.data.splits import Indices
from rnnpipe.errors import DataError
from rnnpipe.files import atomic_path, write_bytes

PIECE_BYTES = 4 << 20


def write_pixels(
    path: Path,
    images_NHW: Pixels,
    chosen: Indices,
    *,
    item_shape: tuple[int, ...],
    transform: Callable[[Pixels], Pixels] = np.asarray,
    maker: str = "the caller",
) -> None:
    """Write the chosen images, transformed to `item_shape`, as one .npy file; memory holds a piece at a time.

    DataError names the `maker` of pixels that aren't of this shape, or not uint8.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False}
    # written, not mapped: where the disk is full, a mapping kills the process without a word
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (len(chosen), *item_shape)})
        for piece in pieces(len(chosen), item_shape):
            images = chosen[piece]
            pixels = transform(images_NHW[images])
            check_pixels(pixels, (len(images), *item_shape), maker)
            file.write(pixels.tobytes())


def check_pixels(pixels: NDArray[Any], shape: tuple[int, ...], maker: str) -> None:
    """Raise DataError where the `maker` of some pixels has given another shape, or another type than uint8."""
    if pixels.dtype != np.dtype(np.uint8):
        raise DataError(
            f"{maker} gives pixels of the type {pixels.dtype}, and uint8 from 0 to 255 is wanted",
            "give uint8, 0 black to 255 white (of 0 to 1: times 255, rounded); a transform keeps the type",
        )
    if pixels.shape != shape:
        raise DataError(
            f"{maker} gives the shape {pixels.shape}, and {shape} is what it promised",
            "correct what it returns, or what it says of it (a transform's `steps` and `features`)",
        )


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a small array as a .npy file. numpy itself tells a full disk without the number of the error."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    write_bytes(path, content.getvalue())


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of pixels scaled to 0 to 1."""

    mean: float
    deviation: float


def pixel_statistics(x_NTI: Pixels) -> PixelStatistics:
    """Return mean and deviation over all pixels, from exact integer sums: the order can't change a bit."""
    counts = np.zeros(WHITE + 1, dtype=np.int64)
    for piece in pieces(len(x_NTI), x_NTI.shape[1:]):
        counts += np.bincount(x_NTI[piece].ravel(), minlength=WHITE + 1)
        forget_pages(x_NTI)
    levels = list(enumerate(counts.tolist()))
    count = sum(number for _, number in levels)
    total = sum(level * number for level, number in levels)
    squares = sum(level**2 * number for level, number in levels)
    variance = (count * squares - total**2) / (count * WHITE) ** 2
    return PixelStatistics(mean=total / (count * WHITE), deviation=math.sqrt(variance))


def forget_pages(array: NDArray[Any]) -> None:
    """Give the pages of a memory map that nobody writes to back to the system; else they fill up what is free."""
    base: Any = array.base  # numpy's types don't know of maps
    while isinstance(base, np.ndarray):  # of a view
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def pieces(count: int, item_shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield the slices of at most PIECE_BYTES that `count` items are worked on in."""
    length = max(1, PIECE_BYTES // math.prod(item_shape))
    return (slice(start, start + length) for start in range(0, count, length))
