"""The dataset that comes with a library, so that the first run needs no network."""

from pathlib import Path

import numpy as np

from rnnpipe.catalogue import DatasetSpec
from rnnpipe.config.data import DataConfig
from rnnpipe.data.raw import RawDataset

DIGITS_WHITE = 16  # scikit-learn's digits count the set pixels of 4 x 4 blocks


def load_digits(spec: DatasetSpec, config: DataConfig, downloads: Path) -> RawDataset:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels, their 17 grey levels spread over 0 to 255.

    Source: E. Alpaydin, C. Kaynak, “Optical Recognition of Handwritten Digits”, UCI, 1998 (its test part).
    """
    from sklearn.datasets import load_digits as load_bunch

    bunch = load_bunch()
    images_NHW = np.round(bunch.images * 255 / DIGITS_WHITE).astype(np.uint8)
    return RawDataset(images_NHW, bunch.target.astype(np.int64), None, None, spec.classes)
