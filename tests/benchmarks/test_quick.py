"""The gate's short benchmark: it fails only where rnnpipe lost half of its lead over the tutorial's loop."""

import pytest

from benchmarks import training
from benchmarks.loops import CPU
from benchmarks.regressions import is_gross_loss, ratios_of
from benchmarks.suite import Plan, read_results
from rnnpipe.runtime import describe_device


def test_no_ratio_fell_to_half_of_the_committed_one() -> None:
    committed = read_results([training.NAME])[training.NAME]
    expected, found = ratios_of(training, committed), ratios_of(training, training.measure(Plan(quick=True)))
    compared = [name for name in found if name in expected]
    if not compared:
        pytest.skip("the committed figures have other loops or threads")
    lost = [name for name in compared if is_gross_loss(expected[name], found[name])]
    same = committed["conditions"]["device"] == describe_device(CPU)
    hint = "" if same else f"; measured on {committed['conditions']['device']}: measure again here"
    assert not lost, f"half as fast as before: {lost}{hint}; `make bench ONLY=training` tells more"
