"""Several variants at once: real processes, as many at work at once as there are to be."""

import time
from typing import Any

import pytest

from benchmarks import parallel
from benchmarks.suite import Plan


class Watched:
    """A variant that notes who else is at work."""

    at_work, seen = 0, list[tuple[int, int]]()

    def train(self, kernels: str, threads: int) -> None:
        Watched.at_work += 1
        Watched.seen.append((Watched.at_work, threads))
        time.sleep(0.05)
        Watched.at_work -= 1


def test_never_more_threads_at_work_than_cores() -> None:
    workers: Any = [Watched() for _ in range(3)]
    parallel.measure_case(workers, {"job": "three", "kernels": "torch"}, 2, Plan())
    assert {at_work for at_work, threads in Watched.seen if threads == 2} == {1}
    assert max(at_work for at_work, threads in Watched.seen if threads == 1) == 2


def test_each_variant_trains_in_its_process_as_it_is_told() -> None:
    with parallel.working("rnn", 1) as worker:
        assert "torch" not in worker.absent
        worker.train("torch", 1)
        with pytest.raises(AssertionError, match="has ended"):
            worker.train("nothing of this name", 1)
