"""Quick versions of the benchmarks; one fails, where rnnpipe lost half of its lead over the tutorial."""

import math
from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.page import write_page
from benchmarks.regressions import compare, is_gross_loss, ratios_of
from benchmarks.suite import Plan, Result, find_benchmarks, machine_of, read_results
from rnnpipe.files import read_json, write_json

QUICK = Plan(quick=True)
SLOW = ("growth", "resuming", "overhead")


@pytest.fixture(scope="module")
def measured() -> Result:
    return training.measure(QUICK)


def test_no_ratio_fell_to_half_of_the_committed_one(measured: Result) -> None:
    results = read_results([training.NAME]).get(training.NAME)
    if results is None:
        pytest.skip("no figures are committed")
    machine = machine_of(measured)
    committed = next((each for each in results if machine_of(each) == machine), results[0])
    expected, found = ratios_of(training, committed), ratios_of(training, measured)
    compared = [name for name in found if name in expected]
    if not compared:
        pytest.skip("the committed figures have other loops or threads")
    lost = [name for name in compared if is_gross_loss(expected[name], found[name])]
    known = machine_of(committed)
    hint = "" if known == machine else f"; those come from {known}: measure again here"
    assert not lost, f"half as fast as before: {lost}{hint}; `make bench ONLY=training` tells more"


def test_a_result_keeps_every_repeat_and_its_conditions(measured: Result) -> None:
    assert [case["variant"] for case in measured["cases"]] == ["rnn", "gru", "lstm"]
    for case in measured["cases"]:
        assert [set(each["wall_s"]) for each in case["rounds"]] == [set(case["summary"]["wall_s"])] * QUICK.rounds
        walls = [each["wall_s"]["torch"] for each in case["rounds"]]
        assert case["summary"]["wall_s"]["torch"]["max"] == max(walls)
    assert {"device", "cores", "threads", "torch", "python", "platform", "measured_at"} <= set(
        measured["conditions"]
    )


@pytest.mark.parametrize(
    "name",
    ["training", "evaluation", "limit", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)],
)
def test_a_quick_result_makes_a_section_and_its_figures(name: str, measured: Result, tmp_path: Path) -> None:
    found = find_benchmarks()
    result = measured if name == "training" else found[name].measure(QUICK)
    write_json(tmp_path / "result.json", result)
    kept = read_json(tmp_path / "result.json")
    written = write_page(found, {name: [kept]}, tmp_path)
    text = (tmp_path / "PERFORMANCE.md").read_text(encoding="utf-8")
    assert all(paragraph.strip("\n") in text for paragraph in found[name].section(kept).split("\n\n"))
    assert all(f"]({picture})" in text for picture in written[1:])
    ratios = ratios_of(found[name], kept)
    assert ratios
    assert all(isinstance(each, dict) and math.isfinite(each["median"]) for each in ratios.values())
    assert compare(found[name], kept, kept) == [f"{name}: nothing got slower ({len(ratios)} ratios)"]
