"""Files that a model classifies: images, or series, read as the model takes them.

Shapes: N series, T steps (of the longest the model reads), I features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rnnpipe.config.data import ColumnsConfig
from rnnpipe.data.npz import read_archive, series_of
from rnnpipe.data.parquet import load_unlabelled
from rnnpipe.data.raw import Floats
from rnnpipe.data.series import RawSeries, places_of
from rnnpipe.errors import DataError
from rnnpipe.evaluation.deploy import Deploy, classify_files, load_model
from rnnpipe.evaluation.spec import ModelSpec, SeriesSpec
from rnnpipe.files import scratch_folder

SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True)
class Answer:
    """What a model says of an image, or a series of a file, which `named` says; or why it can't be read."""

    named: dict[str, str]
    probabilities: dict[str, float]
    error: DataError | None = None

    @property
    def best(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


def answers(model_folder: Path, paths: Sequence[Path], *, invert: bool = False) -> Iterator[Answer]:
    """Yield an answer for each image, or each series of each file; see `classify_files` for `invert`."""
    if load_model(model_folder)[0].series is None:
        for path, found in classify_files(model_folder, paths, invert=invert):
            named = {"image": str(path)}
            yield Answer(named, {}, found) if isinstance(found, DataError) else Answer(named, found)
        return
    for path in paths:
        try:
            for name, probabilities in classify_series(model_folder, path):
                yield Answer({"file": str(path), "series": name}, probabilities)
        except DataError as error:
            yield Answer({"file": str(path)}, {}, error)


def classify_series(model_folder: Path, path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the name of each series of a file, and its probability by class name; labels aren't needed.

    A series' name is its place in an .npz file, or its id in a parquet file. DataError where the file can't be
    read, or its series are of other features or longer than the model reads.
    """
    spec, network = load_model(model_folder)
    deploy = Deploy(spec, network).eval()
    with scratch_folder() as scratch:
        raw, names = read_series(path, spec, scratch)
        for places in places_of(len(names), (spec.steps, spec.features)):
            with torch.inference_mode():
                found_NK = deploy(torch.from_numpy(fitted(raw.part(places), spec.steps))).tolist()
            for place, probabilities_K in zip(places.tolist(), found_NK, strict=True):
                yield names[place], dict(zip(spec.classes, probabilities_K, strict=True))


def read_series(path: Path, spec: ModelSpec, scratch: Path) -> tuple[RawSeries, tuple[str, ...]]:
    """Return the series of a file and their names, once they are known to fit a model."""
    assert spec.series is not None
    if path.suffix.lower() == ".parquet":
        raw, names = load_unlabelled(path, _columns(spec.series), scratch)
    elif path.suffix.lower() == ".npz":
        archive = read_archive(path, scratch)
        labels_N = np.zeros(len(archive.x) if archive.x.ndim else 0, np.int64)
        raw = series_of(path, archive, labels_N, ("",))
        names = tuple(map(str, range(len(labels_N))))
    else:
        raise DataError(f"{path}: the model reads series", f"name a file that ends in {' or '.join(SUFFIXES)}")
    _check_fits(raw, names, spec)
    return raw, names


def fitted(x_NTI: Floats, steps: int) -> Floats:
    """Return series with so many steps: NaN is added at the end, or what is only padding left out."""
    total, found, features = x_NTI.shape
    if found >= steps:
        return x_NTI[:, :steps]
    padding = np.full((total, steps - found, features), np.nan, np.float32)
    return np.concatenate([x_NTI, padding], axis=1)


def _columns(series: SeriesSpec) -> ColumnsConfig:
    """Return how the columns are called: as in the file that the model was trained on."""
    named = series.columns or ColumnsConfig()
    return named.model_copy(update={"features": series.names})


def _check_fits(raw: RawSeries, names: tuple[str, ...], spec: ModelSpec) -> None:
    assert spec.series is not None
    if raw.x_NTI.shape[2] != spec.features or raw.features != spec.series.names:
        raise DataError(
            f"{raw.origin}: its features are {', '.join(raw.features)[:300]}; the model reads"
            f" {', '.join(spec.series.names)[:300]}",
            "bring the same features in the same order (an npz file names them in its array `features`)",
        )
    too_long = raw.lengths_N > spec.steps
    wrong = np.flatnonzero(too_long if spec.has_lengths else raw.lengths_N != spec.steps)
    if len(wrong):
        most = "at most" if spec.has_lengths else "always"
        raise DataError(
            f"{raw.origin}: series {names[wrong[0]]} has {raw.lengths_N[wrong[0]]} steps; the model reads {most}"
            f" {spec.steps}",
            "cut the series, or train the model on series of such lengths",
        )
