"""What benchmarks set for their process is taken back after each test."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _process_as_it_was(threads_as_before: None) -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)
    torch.set_deterministic_debug_mode("default")
