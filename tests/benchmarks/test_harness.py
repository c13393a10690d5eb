"""The harness of the benchmarks: rounds, load, sums, regressions, page; on made-up figures and a made-up clock."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page, regressions, rounds, suite
from benchmarks.__main__ import main
from benchmarks.load import Clocks, ForeignLoad
from rnnpipe.files import write_json

Given = dict[str, Any]


def clocks_of(*steps: tuple[float, float, float, float]) -> Callable[[], Clocks]:
    """Return a clock that gives these, one after the other: wall, busy, own and stolen seconds."""
    following: Iterator[Clocks] = iter(Clocks(*step) for step in steps)
    return lambda: next(following)


@pytest.mark.parametrize(
    ("end", "foreign_cores", "stolen_cores", "is_disturbed"),
    [
        ((12.0, 2.0, 2.0, 0.0), 0.0, 0.0, False),  # all that was busy is own
        ((12.0, 3.0, 2.0, 0.0), 0.5, 0.0, True),  # another process
        ((12.0, 2.2, 2.0, 0.0), 0.1, 0.0, False),  # within the limit
        ((12.0, 2.0, 2.0, 1.0), 0.0, 0.5, True),  # the host took it, and no process shows it
        ((12.0, 2.2, 2.0, 0.2), 0.1, 0.1, True),  # both together
        ((12.0, 1.9, 2.0, 0.0), 0.0, 0.0, False),  # clocks that tick apart give nothing below 0
    ],
)
def test_load_by_others_is_told_apart(
    end: tuple[float, float, float, float], foreign_cores: float, stolen_cores: float, is_disturbed: bool
) -> None:
    with ForeignLoad(clocks_of((10.0, 0.0, 0.0, 0.0), end)) as load:
        pass
    assert load.wall_s == 2
    assert load.foreign_cores == pytest.approx(foreign_cores)
    assert load.stolen_cores == pytest.approx(stolen_cores)
    assert load.is_disturbed == is_disturbed


class Machine:
    """A machine whose time passes only where a contender works, while others use some cores."""

    def __init__(self) -> None:
        self.clocks = Clocks(0, 0, 0, 0)
        self.worked: list[str] = []

    def contender(self, name: str, wall_s: float, foreign: list[float]) -> Callable[[], None]:
        def work() -> None:
            self.worked.append(name)
            wall, busy, own, stolen = self.clocks
            others_s = foreign.pop(0) * wall_s
            self.clocks = Clocks(wall + wall_s, busy + wall_s + others_s, own + wall_s, stolen)

        return work

    def take_turns(self, foreign: list[float]) -> list[rounds.Round]:
        contenders = {
            "plain": self.contender("plain", 3.0, foreign.copy()),
            "fast": self.contender("fast", 1.5, [0.0] * 5),
            "own clock": lambda: 0.5,
        }
        return rounds.take_turns(contenders, 5, "made up", clocks=lambda: self.clocks)


def test_contenders_take_turns_and_every_repeat_is_kept() -> None:
    machine = Machine()
    measured = machine.take_turns([0.0] * 5)
    assert machine.worked == ["plain", "fast", "fast", "plain", "plain", "fast", "fast", "plain", "plain", "fast"]
    assert [each["wall_s"] for each in measured] == [{"plain": 3.0, "fast": 1.5, "own clock": 0.5}] * 5
    summary = rounds.summarize(measured, "plain")
    assert summary["ratio"] == {
        "fast": {"median": 2, "min": 2, "max": 2},
        "own clock": {"median": 6, "min": 6, "max": 6},
    }


def test_fewer_than_five_rounds_are_none() -> None:
    with pytest.raises(AssertionError, match="4 rounds say too little"):
        rounds.take_turns({}, 4, "made up")


@pytest.mark.parametrize(
    ("foreign", "disturbed", "said"),
    [
        ([0.0] * 5, 0, "In none of the 5 rounds"),
        ([0.0, 1.0, 0.1, 0.0, 0.0], 1, "**The machine was loaded at times**: in 1 of 5 rounds"),
        ([0.5, 1.0, 0.5, 0.0, 0.0], 3, "**These figures can't be trusted**: in 3 of 5 rounds"),
    ],
)
def test_disturbed_rounds_are_marked_and_told(foreign: list[float], disturbed: int, said: str) -> None:
    measured = Machine().take_turns(foreign)
    assert [each["is_disturbed"] for each in measured] == [cores > 0.15 for cores in foreign]
    load = rounds.load_of(measured)
    assert (load["disturbed"], load["max_foreign_cores"]) == (disturbed, pytest.approx(max(foreign)))
    assert load["is_trusted"] == (disturbed < 3)
    assert rounds.load_sentence(load).startswith(said)


def test_ratios_are_taken_round_by_round() -> None:
    """A round in which all are half as fast changes the seconds, and no ratio."""
    walls = [{"plain": 4.0, "fast": 2.0}, {"plain": 8.0, "fast": 4.0}, {"plain": 4.0, "fast": 1.0}]
    summary = rounds.summarize([{"wall_s": wall_s} for wall_s in walls], "plain")
    assert summary == {
        "wall_s": {"plain": {"median": 4, "min": 4, "max": 8}, "fast": {"median": 2, "min": 1, "max": 4}},
        "ratio": {"fast": {"median": 2, "min": 2, "max": 4}},
    }


class MadeUp:
    """A benchmark whose result is its ratios."""

    NAME = "made-up"

    def measure(self, plan: suite.Plan) -> Given:
        raise AssertionError("pages and regressions are made from results alone")

    def section(self, result: Given) -> str:
        return f"## Made up\n\nTold once.\n\n\n| {result['ratios']['gru']} |\n\nMade here.\n"

    def ratios(self, result: Given) -> Given:
        ratios: Given = result["ratios"]
        return ratios


def result_of(device: str = "cpu: this", **ratios: tuple[float, float, float] | float) -> Given:
    """Return a result with ratios, given as minimum, median, maximum, or as the median alone."""
    spreads = {
        name: dict(zip(("min", "median", "max"), ratio, strict=True)) if isinstance(ratio, tuple) else ratio
        for name, ratio in ratios.items()
    }
    return {"conditions": {"device": device, "cpu_capability": "AVX2", "cores": 2}, "ratios": spreads}


@pytest.mark.parametrize(
    ("before", "now", "is_slower", "is_gross"),
    [
        ((1.9, 2.0, 2.1), (1.9, 2.0, 2.1), False, False),
        ((1.9, 2.0, 2.1), (2.9, 3.0, 3.1), False, False),  # faster
        ((1.9, 2.0, 2.1), (1.6, 1.7, 1.8), True, False),
        ((1.99, 2.0, 2.01), (1.93, 1.95, 1.96), False, False),  # apart, but less than 5 %
        ((1.5, 2.0, 2.1), (1.6, 1.7, 1.8), False, False),  # the earlier rounds scatter as much
        ((1.9, 2.0, 2.1), (1.0, 1.7, 2.2), False, False),  # the new ones do
        ((1.9, 2.0, 2.1), (0.7, 0.8, 1.1), True, False),  # the median is halved, but not the best round
        ((1.9, 2.0, 2.1), (0.7, 0.8, 0.9), True, True),
        (2.0, 1.8, False, False),
        (2.0, 1.6, True, False),
        (2.0, (0.7, 0.8, 0.9), True, True),
    ],
)
def test_what_counts_as_slower(before: Any, now: Any, is_slower: bool, is_gross: bool) -> None:
    old, new = (result_of(ratio=each)["ratios"]["ratio"] for each in (before, now))
    assert regressions.got_slower(old, new) == is_slower
    assert regressions.is_gross_loss(old, new) == is_gross


def test_what_got_slower_is_said_and_nothing_else() -> None:
    before = result_of(gru=(1.9, 2.0, 2.1), lstm=(1.3, 1.4, 1.5), gone=(1.0, 1.0, 1.0))
    now = result_of(gru=(1.4, 1.5, 1.6), lstm=(1.3, 1.4, 1.5), new=(0.1, 0.1, 0.1))
    assert regressions.compare(MadeUp(), before, now) == [
        "made-up: gone is gone",
        "made-up: SLOWER: gru fell from 2.00 to 1.50 times the reference",
    ]
    assert regressions.compare(MadeUp(), now, now) == ["made-up: nothing got slower (3 ratios)"]


def test_only_figures_of_the_same_machine_and_form_are_compared() -> None:
    now = result_of(gru=(1.4, 1.5, 1.6))
    assert regressions.compare(MadeUp(), None, now) == [
        "made-up: no earlier figures of cpu-this-avx2-2-cores to compare with"
    ]
    old_form = {"conditions": now["conditions"]}
    (line,) = regressions.compare(MadeUp(), old_form, now)
    assert line == "made-up: not compared, the last figures have another form"


def test_each_machine_keeps_its_figures_and_the_newest_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "RESULTS", tmp_path)
    for device, day in (("cpu: this", 3), ("cpu: another", 5), ("cpu: this", 4)):
        result = result_of(device=device, gru=float(day))
        result["conditions"]["measured_at"] = f"2026-01-0{day}"
        write_json(suite.result_path("made-up", suite.machine_of(result)), result)
    found = suite.read_results(["made-up", "not measured"])
    assert [each["ratios"]["gru"] for each in found.pop("made-up")] == [5, 4] and not found


def test_a_benchmark_without_a_result_is_said_to_be_missing() -> None:
    found: dict[str, suite.Benchmark] = {"made-up": MadeUp(), "other": MadeUp()}
    text = page.page_text(found, {"made-up": [result_of(gru=1.5)]})
    assert "| 1.5 |\n\nMade here.\n\nAgain: `make bench ONLY=made-up`.\n\n## Other\n\n" in text
    assert text.endswith("Not measured yet: `make bench ONLY=other`.\n")


def test_of_other_machines_the_page_has_tables_and_conditions() -> None:
    found: dict[str, suite.Benchmark] = {"made-up": MadeUp()}
    text = page.page_text(found, {"made-up": [result_of(gru=1.5), result_of(gru=2.5)]})
    newest, _, other = text.partition("\n\nAgain: `make bench ONLY=made-up`.\n\n")
    assert newest.endswith("## Made up\n\nTold once.\n\n| 1.5 |\n\nMade here.")
    assert other == "| 2.5 |\n\nMade here.\n"


def test_help_names_every_benchmark() -> None:
    told = main.help or ""
    assert [name for name in suite.find_benchmarks() if not re.search(rf"\b{name}\b", told)] == []


def test_the_page_is_what_the_results_give() -> None:
    found = suite.find_benchmarks()
    assert list(found)[:3] == ["recipes", "training", "limit"]
    assert (suite.ROOT / "docs" / page.PAGE).read_text(encoding="utf-8") == page.page_text(
        found, suite.read_results(found)
    )


def test_every_figure_that_the_page_shows_is_there_and_none_is_left_over(tmp_path: Path) -> None:
    found = suite.find_benchmarks()
    written = page.write_page(found, suite.read_results(found), tmp_path)
    text = (tmp_path / page.PAGE).read_text(encoding="utf-8")
    pictures = {name for name in written if name.endswith(".png")}
    of_the_readme = {"belief.png", "leaderboard.png"}
    assert pictures == {path.name for path in (suite.ROOT / "docs").glob("*.png")} - of_the_readme
    assert all(f"]({name})" in text for name in pictures)
    assert text.count(".png)") == len(pictures)
