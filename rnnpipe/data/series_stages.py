"""The two stages of data that are series: in the store as float32, padded with NaN to the longest of all."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnpipe.config.data import DataConfig
from rnnpipe.data.arrays import forget_pages, write_array
from rnnpipe.data.raw import Floats
from rnnpipe.data.series import RawSeries, feature_statistics, places_of, write_floats, write_series
from rnnpipe.data.splits import Indices, Splitter


def series_file(split: str) -> str:
    """Return the name of a dataset's file of train or test series."""
    return f"{split}_series.npy"


def build_series(config: DataConfig, raw: RawSeries, folder: Path) -> dict[str, Any]:
    """Write train and test series and labels to `folder`, and return the facts."""
    splitter = Splitter(config.name, raw.classes, config.split_seed)
    train, test = splitter.hold_out(raw.labels_N, config.test_fraction, "data.test_fraction")
    for split, chosen in (("train", train), ("test", test)):
        write_series(folder / series_file(split), raw, chosen)
        write_array(folder / f"{split}_labels.npy", raw.labels_N[chosen])
    steps = raw.x_NTI.shape[1]
    columns = config.columns.model_dump(mode="json") if config.columns else None
    return {
        "name": config.name, "classes": list(raw.classes), "steps": steps, "features": list(raw.features),
        "has_lengths": bool((raw.lengths_N < steps).any()), "columns": columns, "train": len(train),
        "test": len(test),
    }  # fmt: skip


def write_chosen(path: Path, x_NTI: Floats, chosen: Indices) -> None:
    """Write the chosen of a dataset's series as one .npy file."""
    item_shape = (x_NTI.shape[1], x_NTI.shape[2])
    write_floats(path, _parts(x_NTI, chosen, item_shape), (len(chosen), *item_shape))


def _parts(x_NTI: Floats, chosen: Indices, item_shape: tuple[int, int]) -> Iterator[Floats]:
    for places in places_of(len(chosen), item_shape):
        forget_pages(x_NTI)
        yield x_NTI[chosen[places]]


def series_facts(known: Mapping[str, Any], train_NTI: Floats) -> dict[str, Any]:
    """Return what a model has to know of series: names and statistics of the features, of training alone."""
    statistics = feature_statistics(train_NTI)
    return {
        "names": known["features"], "means": list(statistics.means), "deviations": list(statistics.deviations),
        "has_lengths": known["has_lengths"], "columns": known["columns"],
    }  # fmt: skip
