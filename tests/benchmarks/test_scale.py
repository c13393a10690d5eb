"""The benchmark of scale: its parts on made-up figures, its page, and all of it at the smallest sizes."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import scale
from benchmarks.scaling import steps, tables, timing
from benchmarks.suite import ROOT, Plan, read_results
from rnnpipe.files import read_json, write_json


def case(size: int, median_s: float, times: int = 5) -> dict[str, Any]:
    spread = {"median": median_s, "min": 0.9 * median_s, "max": 1.2 * median_s, "times": times, "cpu_s": 0.5}
    return {
        "part": "mlflow",
        "backend": "Postgres",
        "size": size,
        "bytes": 1000 * size,
        "summary": {"ask": spread},
    }


def test_what_is_slow_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = {"slow": 0, "quick": 0}
    monkeypatch.setattr(timing, "ONCE_S", 0.0)

    def slow() -> None:
        done["slow"] += 1

    rounds = timing.timed_rounds({"slow": slow}, 5, "made up")
    assert done["slow"] == 1 and timing.summary_of(rounds)["slow"]["times"] == 1
    monkeypatch.setattr(timing, "ONCE_S", 60.0)
    rounds = timing.timed_rounds({"quick": lambda: done.update(quick=done["quick"] + 1)}, 5, "made up")
    assert done["quick"] == 6 and timing.summary_of(rounds)["quick"]["times"] == 5


def test_what_gives_first_comes_first() -> None:
    cases = [case(1000, 0.1), case(10_000, 1.5), case(100_000, 20.0, times=1)]
    assert (
        "| mlflow | Postgres | ask | 10,000 | 20.00 s | 200.0 times from 1,000 to 100,000 |"
        in tables.given_table(cases)
    )
    assert tables.given_table([case(1000, 0.1), case(10_000, 0.2)]).count("\n") == 1
    text = tables.times_table(cases, "runs")
    row = "| ask | 100 ms [90 to 120]; 500 ms | 1.50 s [1.35 to 1.80]; 500 ms | 20.00 s (once); 500 ms |"
    assert row in text


@pytest.mark.parametrize(("size_bytes", "text"), [(999, "999 bytes"), (55e6, "55 MB"), (5.5e15, "5,500 TB")])
def test_sizes_are_told_as_people_read_them(size_bytes: float, text: str) -> None:
    assert tables.size_text(size_bytes) == text


def test_the_steps_are_plain_arithmetic() -> None:
    hashed = {"median": 0.5, "min": 0.5, "max": 0.5, "times": 5}
    crowds = [
        {"asked": asked, "per_s": per_s, "size": 100, "backend": "x", "errors": errors}
        for asked, per_s, errors in (("comparison", 2.0, 0), ("comparison", 9.0, 1), ("log 6 points", 50.0, 0))
    ]
    file = {"part": "store", "backend": "file", "size": 784, "summary": {"": hashed}}
    flows = [{**case(size, 1), "part": "prefect", "bytes": 10 * size} for size in (1000, 2000)]
    result = {"cases": [case(1000, 1), case(2000, 1), *flows, file], "crowds": crowds}
    text = steps.steps_table(result)
    assert "| MLflow's database | 100 kB | 1 MB | 100 MB | 10 GB |" in text
    assert "| Prefect's, with a flow run a training | 1 kB | 10 kB | 1 MB | 100 MB |" in text
    assert "| in the store, as images and as sequences | 110 MB | 1.1 GB | 110 GB | 11 TB |" in text
    assert "| less than one | less than one | 8 | 833 |" in text and "2.0 a second (x)" in text


def asked(size: int, medians: dict[str, float], **named: str) -> dict[str, Any]:
    summary = {action: {"median": median_s} for action, median_s in medians.items()}
    return {"part": "mlflow", "backend": "Postgres", **named, "size": size, "summary": summary}


def test_what_gives_first_is_the_worst_of_its_size() -> None:
    got = {"per_s": 2.0, "size": 100, "clients": 10, "median_ms": 5000.0, "errors": 0, "backend": "x"}
    crowds = [{"asked": "comparison", **got}]
    cases = [
        asked(10_000, {"page": 4.2, "list": 9.0, "start": 1.5, "compare": 20.0, "read": 0.2}),
        asked(1000, {"page": 4.0, "list": 2.0, "start": 0.1, "compare": 0.5, "read": 0.1}),
        asked(1000, {"page": 3.0}, backend="SQLite"),
        asked(1000, {"page": 3.0}, part="prefect"),
        asked(10, {"prune": 0.1}, part="store", backend="workspace"),
        asked(2**28, {"verify": 7.0}, part="store", backend="file"),
    ]
    lines = steps.first_text({"cases": cases, "crowds": crowds}).splitlines()
    assert lines == [
        '- MLflow: already with 1,000 runs, at worst "page", 4 s and 4.2 s with 10,000 (Postgres); of what grows'
        ' beyond a second, the first comes with 10,000 runs, at worst "compare", 20 s (Postgres).',
        '- Prefect: already with 1,000 runs, at worst "page", 3 s (Postgres); nothing else grows beyond a second.',
        "- The workspace: nothing takes longer than a second.",
        "- Of many users: 10 at once get 2.0 comparisons of 100 runs a second in all, each after 5 s, at best.",
    ]
    assert "- Prefect: not measured." in steps.first_text({"cases": cases[:3], "crowds": crowds})


def test_it_is_measured_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = list[str]()

    def measure(name: str, plan: Plan) -> dict[str, Any]:
        measured.append(name)
        raise command.subprocess.CalledProcessError(1, name)

    monkeypatch.setattr(command, "measure_alone", measure)
    CliRunner().invoke(command.main, ["--quick"])
    assert measured and scale.NAME not in measured
    CliRunner().invoke(command.main, ["--quick", scale.NAME])
    assert measured[-1] == scale.NAME


def test_the_page_is_the_one_of_the_result() -> None:
    results = read_results([scale.NAME]).get(scale.NAME)
    if results is None:
        pytest.skip("no figures are committed")
    result = results[0]
    for file, text in scale.pages(result).items():
        assert (ROOT / "docs" / file).read_text(encoding="utf-8") == text, "python -m benchmarks --page"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_it_at_the_smallest_sizes(tmp_path: Path) -> None:
    write_json(tmp_path / "result.json", scale.measure(Plan(quick=True)))
    result = read_json(tmp_path / "result.json")
    (text,) = scale.pages(result).values()
    assert {case["part"] for case in result["cases"]} >= {"mlflow", "prefect", "store"}
    assert not [each for each in result["skipped"] if "to its end" in each and "redis" not in each]
    assert "## What gives first" in text and scale.section(result).startswith("## Scale")
