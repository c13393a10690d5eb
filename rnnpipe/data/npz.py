"""Series in an .npz file, as numpy.savez writes it.

    x         (N, T, I) numbers, or (N, T) of one feature
    y         (N,) labels: whole numbers or text
    lengths   (N,) how many steps of each series count; without it, NaN at the end of a series is padding
    classes   (K,) text: the names of the classes, where y are numbers from 0 to K - 1
    features  (I,) text: the names of the features

The arrays are read without pickle, and x in pieces: memory doesn't grow with it.
"""

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.data import DataConfig
from rnnpipe.data.arrays import forget_pages
from rnnpipe.data.series import RawSeries, check_series, check_sizes, classes_of, names_of, path_of_file, places_of
from rnnpipe.errors import UNWRITABLE, DataError

NAMES = ("x", "y", "lengths", "classes", "features")
MAX_SMALL_BYTES = 1 << 30  # of any array but x
READING = "of numbers: (N, T, I), or (N, T) of one feature"
FIX = "write it with numpy.savez(file, x=…, y=…): see docs/own-series.md"
DAMAGED = (
    OSError, ValueError, EOFError, KeyError, TokenError, RuntimeError, MemoryError, OverflowError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Array = NDArray[Any]


class Archive(NamedTuple):
    """The arrays of a file: x memory-mapped, the others by name."""

    x: Array
    others: dict[str, Array]


def load_npz(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawSeries:
    """Return the series of `config.file`; DataError says which array is wrong, and how."""
    assert config.file is not None
    path = path_of_file(config.file)
    archive = read_archive(path, downloads)
    if "y" not in archive.others:
        raise DataError(f"{path}: there is no array y", FIX)
    labels_N, classes = classes_of(archive.others["y"], _texts(path, archive, "classes"), str(path))
    return series_of(path, archive, labels_N, classes)


def series_of(path: Path, archive: Archive, labels_N: Any, classes: tuple[str, ...]) -> RawSeries:
    """Return the checked series of an archive with these labels."""
    x_NTI = archive.x[..., None] if archive.x.ndim == 2 else archive.x
    if x_NTI.ndim != 3 or x_NTI.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: x has the shape {archive.x.shape} and the type {archive.x.dtype}",
            f"x has to be {READING}",
        )
    check_sizes(str(path), x_NTI.shape)
    features = _texts(path, archive, "features")
    sizes = {"y": (len(labels_N), len(x_NTI), "N"), "features": (len(features or ()), x_NTI.shape[2], "I")}
    if features is None:
        del sizes["features"]
    given = archive.others.get("lengths")
    if given is not None:
        if given.ndim != 1 or given.dtype.kind not in "iu":
            found_kind = f"the shape {given.shape} and the type {given.dtype}"
            raise DataError(f"{path}: lengths has {found_kind}", "lengths has a whole number for each series")
        sizes["lengths"] = (len(given), len(x_NTI), "N")
    for name, (found, needed, axis) in sizes.items():
        if found != needed:
            raise DataError(
                f"{path}: {name} has {found} entries, and x has the shape {x_NTI.shape}, so {axis} = {needed}",
                f"{name} has one entry for each {'series' if axis == 'N' else 'feature'}",
            )
    lengths_N = _lengths_without_padding(x_NTI) if given is None else given.astype(np.int64)
    raw = RawSeries(x_NTI, lengths_N, labels_N, classes, names_of(features, x_NTI.shape[2]), str(path))
    check_series(raw)
    return raw


def read_archive(path: Path, downloads: Path) -> Archive:
    """Return the arrays of a file; x as a map of a file in `downloads` that has no name any more."""
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): archive.getinfo(name) for name in archive.namelist()}
            if unknown := sorted(members.keys() - set(NAMES)):
                fix = f"the arrays are called {', '.join(NAMES)}"
                raise DataError(f"{path}: unknown arrays {', '.join(unknown)[:200]}", fix)
            if "x" not in members:
                raise DataError(f"{path}: there is no array x", FIX)
            others = {}
            for name in members.keys() - {"x"}:
                if members[name].file_size > MAX_SMALL_BYTES:
                    raise ValueError(f"{name} is larger than {MAX_SMALL_BYTES >> 30} GiB")
                with archive.open(members[name]) as file:
                    others[name] = np.lib.format.read_array(file, allow_pickle=False)
            with tempfile.TemporaryFile(dir=downloads) as plain:
                with archive.open(members["x"]) as file:
                    shutil.copyfileobj(file, plain)
                return Archive(_mapped(plain), others)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:  # of `downloads`
            raise
        raise DataError(f"{path}: not a file of series: {error}", FIX) from None


def _mapped(file: Any) -> Array:
    """Return the array in an open .npy file, memory-mapped: the map outlives the file's name."""
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, kind = read(file)
    if kind.hasobject:
        raise ValueError("x holds Python objects")
    if not np.prod(shape):
        return np.zeros(shape, kind)
    return np.memmap(file, kind, "c", file.tell(), shape, "F" if is_fortran else "C")


def _texts(path: Path, archive: Archive, name: str) -> tuple[str, ...] | None:
    """Return an array of text as a tuple; None where there is none."""
    array = archive.others.get(name)
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind != "U" or len(set(array.tolist())) != len(array):
        raise DataError(
            f"{path}: {name} has the shape {array.shape} and the type {array.dtype}, or a name stands there twice",
            f"{name} has one text each, all different",
        )
    return tuple(array.tolist())


def _lengths_without_padding(x_NTI: Array) -> NDArray[np.int64]:
    """Return where the last step ends that isn't all NaN; 0 where there is none."""
    total, steps, features = x_NTI.shape
    lengths_N = np.full(total, steps, dtype=np.int64)
    if x_NTI.dtype.kind != "f":
        return lengths_N
    for places in places_of(total, (steps, features)):
        is_step_NT = ~np.asarray(np.isnan(x_NTI[places]).all(axis=2))
        forget_pages(x_NTI)
        lengths_N[places] = np.where(is_step_NT.any(axis=1), steps - is_step_NT[:, ::-1].argmax(axis=1), 0)
    return lengths_N
