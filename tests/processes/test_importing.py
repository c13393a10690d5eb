"""Imports without the garbage collector, which is as before when they are done, or have failed."""

import gc
from collections.abc import Iterator

import pytest

from rnnpipe.processes.importing import importing


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_meanwhile_and_what_is_there_never_again() -> None:
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled() and gc.get_freeze_count()


def test_the_collector_comes_back_after_an_error() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()


def test_a_block_within_another_doesnt_switch_it_on() -> None:
    with importing():
        with importing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
