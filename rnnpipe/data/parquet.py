"""Series in a parquet file, a row for each time step of each series, as sensors and databases give them.

    series  time  label    ax    ay
    a       0.00  walking  0.1   9.8
    a       0.02  walking  0.2   9.7
    b       0.00  sitting  0.0   9.8

How the columns are called stands in `data.columns`. The order of the rows doesn't matter. The table is read whole,
so memory grows with it; what is made of it lies on disk.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.data import ColumnsConfig, DataConfig
from rnnpipe.data.series import RawSeries, check_series, check_sizes, classes_of, path_of_file
from rnnpipe.errors import DataError

EXTRA = "pip install 'rnnpipe[parquet]'"


def load_parquet(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawSeries:
    """Return the series of `config.file`, ordered by their ids; DataError says which column is wrong, and how."""
    assert config.file is not None
    columns = config.columns or ColumnsConfig()
    path = path_of_file(config.file)
    table, features = read_table(path, columns, with_labels=True)
    ids_N, series_R, order_R = _ordered(path, table, columns)
    first_N = order_R[np.unique(series_R[order_R], return_index=True)[1]]
    label_R = _plain(table.column(columns.label))
    label_N = label_R[first_N]
    mixed = np.flatnonzero(label_R != label_N[series_R])
    if len(mixed):
        place = series_R[mixed[0]]
        raise DataError(
            f"{path}: series {ids_N[place]} has the labels {label_N[place]} and {label_R[mixed[0]]} in the column"
            f" {columns.label}",
            "a series has one label, the same in all its rows; cut it where the label changes",
        )
    labels_N, classes = classes_of(label_N, None, f"{path}: column {columns.label}")
    labels, rows = (labels_N, classes), (series_R, order_R)
    return _filled(path, table, features, labels=labels, rows=rows, downloads=downloads)


def load_unlabelled(path: Path, columns: ColumnsConfig, downloads: Path) -> tuple[RawSeries, tuple[str, ...]]:
    """Return series without labels (all 0), to be classified, and their ids."""
    table, features = read_table(path, columns, with_labels=False)
    ids_N, series_R, order_R = _ordered(path, table, columns)
    labels = np.zeros(len(ids_N), np.int64), ("",)
    raw = _filled(path, table, features, labels=labels, rows=(series_R, order_R), downloads=downloads)
    return raw, tuple(map(str, ids_N.tolist()))


def read_table(path: Path, columns: ColumnsConfig, *, with_labels: bool) -> tuple[Any, tuple[str, ...]]:
    """Return the columns that are needed, as a table of pyarrow without gaps, and the names of the features."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path}: reading parquet takes pyarrow, which isn't installed", EXTRA) from None
    needed = [columns.series, columns.time, *([columns.label] if with_labels else [])]
    try:
        known = parquet.read_schema(path).names
        rest = [name for name in known if name not in (columns.series, columns.time, columns.label)]
        features = columns.features or tuple(rest)
        if missing := [name for name in [*needed, *features] if name not in known]:
            raise DataError(
                f"{path}: there is no column {', '.join(missing)}; it has {', '.join(known)[:500]}",
                "call them so, or say in data.columns how they are called; a model knows those of its training",
            )
        table = parquet.read_table(path, columns=[*needed, *features])
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path}: not a parquet file that can be read: {error}", "write it again") from None
    if not features or not table.num_rows:
        raise DataError(
            f"{path}: {table.num_rows} rows and {len(features)} features", "there has to be one of each"
        )
    for name in table.column_names:
        column = table.column(name)
        if column.null_count:
            raise DataError(
                f"{path}: column {name} has {column.null_count} empty rows of {table.num_rows}",
                "fill them before, or leave these rows out",
            )
        if name in features and not (arrow.types.is_integer(column.type) or arrow.types.is_floating(column.type)):
            raise DataError(
                f"{path}: column {name} is of the type {column.type}, and features are numbers",
                f"name the features in data.columns.features, without {name}, or turn it into numbers",
            )
    return table, features


def _ordered(path: Path, table: Any, columns: ColumnsConfig) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the ids of the series, sorted, each row's place among them, and the rows by series and time."""
    ids_N, series_R = np.unique(_plain(table.column(columns.series)), return_inverse=True)
    time_R = _plain(table.column(columns.time))
    order_R = np.lexsort((time_R, series_R))
    time_R, place_R = time_R[order_R], series_R[order_R]
    twice = np.flatnonzero((time_R[1:] == time_R[:-1]) & (place_R[1:] == place_R[:-1]))
    if len(twice):
        raise DataError(
            f"{path}: series {ids_N[place_R[twice[0]]]} has two rows with {columns.time} {time_R[twice[0]]}",
            "a series has one row for each time: their order must be known",
        )
    return ids_N, series_R, order_R


def _plain(column: Any) -> NDArray[Any]:
    """Return a column as an array of numbers, times or text."""
    array: NDArray[Any] = column.to_numpy()
    return array.astype(str) if array.dtype == object else array


def _filled(
    path: Path, table: Any, features: tuple[str, ...], *, labels: Any, rows: Any, downloads: Path
) -> RawSeries:
    """Return the series, in a map of a file in `downloads` that has no name any more."""
    (labels_N, classes), (series_R, order_R) = labels, rows
    lengths_N = np.bincount(series_R, minlength=len(labels_N))
    steps = int(lengths_N.max())
    check_sizes(str(path), (len(labels_N), steps, len(features)))
    place_R = series_R[order_R]
    step_R = np.arange(len(place_R)) - np.repeat(np.cumsum(lengths_N) - lengths_N, lengths_N)
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=downloads) as file:
        x_NTI = np.memmap(file, np.float32, "w+", shape=(len(labels_N), steps, len(features)))
    for number, name in enumerate(features):
        with np.errstate(over="ignore"):
            x_NTI[place_R, step_R, number] = table.column(name).to_numpy()[order_R]
    raw = RawSeries(x_NTI, lengths_N.astype(np.int64), labels_N, classes, features, str(path))
    check_series(raw)
    return raw
