"""Sequences that aren't images: checked, padded with NaN to one length, and written in pieces.

Shapes: N series, T steps (of the longest), I features. What is no number is padding: a series ends before its
first step of NaN. So a length lies in the array itself, and goes wherever the array goes.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnpipe.data.arrays import forget_pages, pieces
from rnnpipe.data.raw import Floats, Labels
from rnnpipe.data.splits import Indices
from rnnpipe.errors import DataError
from rnnpipe.files import atomic_path, sha256_file

MAX_STEPS, MAX_FEATURES = 262_144, 4096


@dataclass(frozen=True)
class RawSeries:
    """What a loader of series returns: values that may be memory-mapped and of any type of number.

    `lengths_N` says how many steps of each count; what comes after them is never looked at. `origin` names the
    file in errors.
    """

    x_NTI: NDArray[Any]
    lengths_N: NDArray[np.int64]
    labels_N: Labels
    classes: tuple[str, ...]
    features: tuple[str, ...]
    origin: str

    def part(self, places: Indices) -> Floats:
        """Return series as float32, NaN after their ends."""
        with np.errstate(over="ignore"):  # whatever is infinite then is told by `check_series`
            x_NTI = np.array(self.x_NTI[places], dtype=np.float32)
        x_NTI[np.arange(x_NTI.shape[1]) >= self.lengths_N[places, None]] = np.nan
        return x_NTI


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean and standard deviation of each feature, over all steps of all series."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]


def path_of_file(file: str) -> Path:
    """Return the file that a config means; DataError where there is none."""
    path = Path(os.path.realpath(os.path.expanduser(file)))  # noqa: PTH111 (pathlib raises for unknown users)
    if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises for a name that is too long)
        raise DataError(f"data.file {file}: there is no such file", "set data.file to the path of your file")
    return path


def file_digest(file: str) -> str:
    """Return the SHA-256 (hex) of a file's content, wherever it lies."""
    path = path_of_file(file)
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}", "make it readable") from None


def check_sizes(origin: str, shape: tuple[int, ...]) -> None:
    """Raise DataError for a shape (N, T, I) that no net reads."""
    total, steps, features = shape
    if not total or not 1 <= steps <= MAX_STEPS or not 1 <= features <= MAX_FEATURES:
        raise DataError(
            f"{origin}: {total:,} series of {steps:,} steps and {features:,} features",
            f"there have to be series, of 1 to {MAX_STEPS:,} steps and 1 to {MAX_FEATURES:,} features",
        )


def check_series(raw: RawSeries) -> None:
    """Raise DataError for sizes that no net reads, lengths that don't fit, and values that aren't finite."""
    check_sizes(raw.origin, raw.x_NTI.shape)
    total, steps, features = raw.x_NTI.shape
    wrong = np.flatnonzero((raw.lengths_N < 1) | (raw.lengths_N > steps))
    if len(wrong):
        raise DataError(
            f"{raw.origin}: lengths[{wrong[0]}] = {raw.lengths_N[wrong[0]]}, and there are {steps} steps"
            f" ({len(wrong)} of {total} lengths don't fit)",
            f"a length is 1 to {steps}; leave out series without steps",
        )
    for places in places_of(total, (steps, features)):
        part = raw.part(places)
        forget_pages(raw.x_NTI)
        is_read_NT = np.arange(steps) < raw.lengths_N[places, None]
        bad = np.argwhere(~np.isfinite(part) & is_read_NT[..., None])
        if len(bad):
            series, step, feature = bad[0].tolist()
            value = raw.x_NTI[places[series], step, feature]
            raise DataError(
                f"{raw.origin}: {raw.features[feature]} of series {places[series]} is {value} at step {step}:"
                " no finite float32",
                "fill gaps before (say, with the value before), or let a shorter length end the series there",
            )


def write_series(path: Path, raw: RawSeries, chosen: Indices) -> None:
    """Write the chosen series as one .npy file of float32; memory holds a piece at a time."""
    item_shape = (raw.x_NTI.shape[1], raw.x_NTI.shape[2])
    parts = (raw.part(chosen[places]) for places in places_of(len(chosen), item_shape))
    write_floats(path, parts, (len(chosen), *item_shape))


def write_floats(path: Path, parts: Iterator[Floats], shape: tuple[int, ...]) -> None:
    """Write arrays, one after the other, as one .npy file of float32 of this shape."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype="<f4").tobytes())


def places_of(count: int, item_shape: tuple[int, int]) -> Iterator[Indices]:
    """Yield the places that are worked on at a time."""
    everything = np.arange(count)
    return (everything[piece] for piece in pieces(count, (item_shape[0], item_shape[1], 8)))  # of 8 bytes each


def feature_statistics(x_NTI: Floats) -> FeatureStatistics:
    """Return mean and deviation of each feature in float64, piece by piece in one order; NaN doesn't count."""
    features = x_NTI.shape[2]
    count, total_I = 0, np.zeros(features)
    for places in places_of(len(x_NTI), x_NTI.shape[1:]):
        part_SI = _steps_of(x_NTI, places)
        count, total_I = count + len(part_SI), total_I + part_SI.sum(axis=0)
    means_I, squares_I = total_I / count, np.zeros(features)
    for places in places_of(len(x_NTI), x_NTI.shape[1:]):
        squares_I += ((_steps_of(x_NTI, places) - means_I) ** 2).sum(axis=0)
    return FeatureStatistics(tuple(means_I.tolist()), tuple(np.sqrt(squares_I / count).tolist()))


def _steps_of(x_NTI: Floats, places: Indices) -> NDArray[np.float64]:
    """Return all steps of some series that are no padding, (S, I)."""
    part_NTI = x_NTI[places].astype(np.float64)
    forget_pages(x_NTI)
    steps: NDArray[np.float64] = part_NTI[~np.isnan(part_NTI[..., 0])]
    return steps


def classes_of(labels: NDArray[Any], names: Sequence[str] | None, origin: str) -> tuple[Labels, tuple[str, ...]]:
    """Return class numbers and the names of the classes: `names` in their order, else the labels, sorted.

    DataError where labels are neither whole numbers nor text, don't fit `names`, or are all the same.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{origin}: labels of the shape {labels.shape} and the type {labels.dtype}",
            "there is one label a series, a whole number or text",
        )
    if names is None:
        found, numbers_N = np.unique(labels, return_inverse=True)
        texts = tuple(found.astype(str).tolist())
    else:
        texts, numbers_N = tuple(names), labels
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(texts):
            raise DataError(
                f"{origin}: labels from {labels.min()} to {labels.max()} with {len(texts)} names in classes",
                "with `classes`, a label is the place of its class in them, from 0",
            )
    if len(texts) < 2:
        raise DataError(f"{origin}: {len(texts)} class, so there is nothing to tell apart", "label at least two")
    return numbers_N.astype(np.int64).reshape(-1), texts


def names_of(features: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Return the names of the features, or "feature 0" and so on where they have none."""
    return tuple(features) if features is not None else tuple(f"feature {number}" for number in range(count))
