"""A large memory map gives its pages back while a training reads it."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.memory import memory_of
from rnnpipe.data.arrays import write_pixels
from rnnpipe.data.stages import open_split
from rnnpipe.training.data import FAULT_BYTES, ReadPages

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
    before = mapped_mib()
    split.x_NTI.sum()
    assert mapped_mib() - before > 60  # so the measure sees what is mapped
    pages = ReadPages(split.x_NTI, LIMIT_BYTES)
    most = 0.0
    for start in range(0, IMAGES, 32):
        assert np.array_equal(split.x_NTI[start : start + 32], images_NHW[chosen[start : start + 32]])
        pages.count(32)
        if start > LIMIT_BYTES // FAULT_BYTES:  # the first time has come
            most = max(most, mapped_mib() - before)
    assert most < 2 * LIMIT_BYTES / 2**20
