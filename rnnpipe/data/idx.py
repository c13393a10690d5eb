"""MNIST and its relatives: downloaded files in the IDX format, read by torchvision."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from torchvision.datasets.mnist import read_image_file, read_label_file

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.data import DataConfig
from rnnpipe.data.mirrors import fetch_files, mirror_urls
from rnnpipe.data.raw import Labels, Pixels, RawDataset
from rnnpipe.errors import DataError


def load_idx(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawDataset:
    """Return a dataset of four IDX files, downloaded to `downloads`/NAME unless they are there and verify.

    DataError where no mirror has them, or where they don't fit together.
    """
    mirrors = mirror_urls(config, _torchvision_class(spec).mirrors)
    return _read(spec, fetch_files(spec, mirrors, downloads / config.name))


def load_emnist(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawDataset:
    """Return EMNIST's digits, upright: its files hold each image transposed.

    Its authors publish one zip file of 560 MB, fetched only where no mirror has the four files themselves.
    """
    mirrors, bundle_url = mirror_urls(config, ()), _torchvision_class(spec).url
    raw = _read(spec, fetch_files(spec, mirrors, downloads / config.name, bundle_url=bundle_url))
    train_images_NHW, test_images_NHW = raw.train_images_NHW, raw.test_images_NHW
    assert isinstance(train_images_NHW, np.ndarray) and isinstance(test_images_NHW, np.ndarray)
    return replace(
        raw,
        train_images_NHW=train_images_NHW.transpose(0, 2, 1),
        test_images_NHW=test_images_NHW.transpose(0, 2, 1),
    )


def _torchvision_class(spec: DatasetSpec) -> Any:
    return getattr(torchvision.datasets, spec.torchvision_class)


def _read(spec: DatasetSpec, files: dict[str, Path]) -> RawDataset:
    train = _read_split(files["train_images"], files["train_labels"], spec.classes)
    test = _read_split(files["test_images"], files["test_labels"], spec.classes)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(f"{files['test_images']}: images of {test[0].shape[1:]}, in training {train[0].shape[1:]}")
    return RawDataset(*train, *test, spec.classes)


def _read_split(images: Path, labels: Path, classes: tuple[str, ...]) -> tuple[Pixels, Labels]:
    try:
        images_NHW, labels_N = read_image_file(str(images)).numpy(), read_label_file(str(labels)).numpy()
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{images.name}, {labels.name}: not images and labels: {error}") from None
    if len(images_NHW) != len(labels_N):
        raise DataError(f"{images}: {len(images_NHW)} images, but {len(labels_N)} labels")
    if not len(labels_N) or labels_N.max() >= len(classes):
        raise DataError(f"{labels}: holds no labels, or labels beyond the {len(classes)} classes")
    return images_NHW, labels_N
