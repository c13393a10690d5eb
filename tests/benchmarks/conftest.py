"""What benchmarks set for their process is taken back after each test."""

from collections.abc import Iterator

import pytest
import torch

from rnnpipe.runtime import give_threads_to_kernels, num_threads, set_threads


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    threads = num_threads()
    yield
    torch.set_flush_denormal(False)
    torch.set_deterministic_debug_mode("default")
    give_threads_to_kernels(False)
    set_threads(threads)
