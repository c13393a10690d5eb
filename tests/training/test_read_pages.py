"""A large memory map gives its pages back while a training reads it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.memory import memory_of
from rnnpipe.data.arrays import write_pixels
from rnnpipe.data.stages import open_split
from rnnpipe.training.data import ReadPages

SIDE, IMAGES = 128, 4096  # 64 MiB
LIMIT_BYTES = 8 << 20


def mapped_mib() -> float:
    memory = memory_of([os.getpid()])
    return memory.resident_mib - memory.anonymous_mib


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take their pages back when they like")
def test_pages_are_given_back_and_nothing_is_lost(tmp_path: Path) -> None:
    images_NHW = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE), dtype=np.uint8)
    chosen = np.arange(IMAGES) % len(images_NHW)
    write_pixels(tmp_path / "train_x.npy", images_NHW, chosen, item_shape=(SIDE, SIDE))
    np.save(tmp_path / "train_y.npy", chosen)
    split = open_split(tmp_path, "train")
    assert split is not None
    before, pages = mapped_mib(), ReadPages(split.x_NTI, LIMIT_BYTES)
    split.x_NTI.sum()
    assert mapped_mib() - before > 60  # so the measure sees what is mapped
    order, most = np.random.default_rng(0).permutation(IMAGES), 0.0
    for places in order.reshape(-1, 32):
        pages.look()
        most = max(most, mapped_mib() - before)
        assert np.array_equal(split.x_NTI[places], images_NHW[chosen[places]])
    assert most < LIMIT_BYTES / 2**20 + 1
