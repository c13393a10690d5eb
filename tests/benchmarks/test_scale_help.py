"""What docs/SCALE.md recommends is what was measured to help; what was left out is told in words for people."""

import re
from typing import Any

import pytest

from benchmarks import scale
from benchmarks.scaling import gains, reasons, remedies
from benchmarks.scaling.settings import INDEX, POOL, WORK_MEMORY
from benchmarks.suite import ROOT, read_results

TAG, FIND, START = "`rnnpipe runs --tag NAME`: every run", "find a run by its key", "start a run"
REFUSED = (
    "TimeoutError: Locator.wait_for: Timeout 180000ms exceeded.\nCall log:\n"
    "  - waiting for locator(\"a[href*='/runs/']\").first to be visible\n"
)


def case(backend: str, size: int, comparison_s: float, part: str = "mlflow", **medians: float) -> dict[str, Any]:
    named = {TAG: 2.0, gains.NEWEST: 0.9, FIND: 0.3, START: 0.8, gains.ALONE: 0.2, gains.COMPARISON: comparison_s}
    names = {"tag": TAG, "newest": gains.NEWEST, "find": FIND}
    found = {**named, **{names[name]: median_s for name, median_s in medians.items()}}
    summary = {action: {"median": median_s} for action, median_s in found.items()}
    return {"part": part, "backend": backend, "size": size, "summary": summary}


def crowd(asked: str, how: str, clients: int, per_s: float, errors: int = 0) -> dict[str, Any]:
    named = {"part": "mlflow", "backend": f"Postgres: {how}", "asked": asked}
    return {**named, "clients": clients, "per_s": per_s, "errors": errors, "kinds_of_errors": []}


def result(sorting_s: float = 1.2, crowds: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    setting = "mlflow setting"
    return {
        "cases": [
            case("SQLite", 1000, 0.5, tag=12.0),
            case("SQLite", 10_000, 10.0, tag=50.0),
            case("Postgres", 1000, 0.6, tag=16.0),
            case("Postgres", 10_000, 0.9, tag=88.0),
            case("Postgres", 100_000, 1.6, newest=10.0),
            case("Postgres: index on two tags", 100_000, 1.1, setting, newest=3.0, find=0.02),
            case("Postgres: and work_mem 64 MB", 100_000, sorting_s, setting, newest=4.0),
            {
                "part": "store", "backend": "workspace", "size": 1000,
                "summary": {"prune": {"median": 1.5}, "report": {"median": 0.1}},
            },
        ],
        "crowds": list(crowds),
    }  # fmt: skip


def parts_of(text: str) -> tuple[str, str, str]:
    """Return what helps, what was tried without gain, and what isn't known."""
    helps, _, rest = text.partition("### Tried without gain")
    tried, _, unknown = rest.partition("### Not known")
    return helps, tried, unknown


def test_what_is_better_by_less_than_a_tenth_is_no_gain() -> None:
    assert gains.shorter(0.9, 1.0, "to ask").is_gain and not gains.shorter(0.95, 1.0, "to ask").is_gain
    assert gains.shorter(1.19, 1.11, "to ask") == gains.Figure("1.19 s instead of 1.11 s to ask", False)


def test_a_setting_without_gain_is_told_as_tried_and_not_recommended() -> None:
    helps, tried, _ = parts_of(remedies.help_text(result(sorting_s=1.2)))
    assert "work_mem" not in helps and WORK_MEMORY not in helps + tried and INDEX in helps
    assert (
        "- `work_mem` for MLflow's sorting: 1.2 s instead of 1.1 s for the comparison,"
        " 4 s instead of 3 s for `rnnpipe runs`" in tried
    )
    assert "20 ms instead of 300 ms for a run by its key, 3 s instead of 10 s for `rnnpipe runs` |" in helps
    assert "800 ms instead of 800 ms to start one" in tried


def test_another_measurement_moves_a_setting() -> None:
    helps, tried, _ = parts_of(remedies.help_text(result(sorting_s=0.5)))
    assert "(statement below): 500 ms instead of 1.1 s for the comparison | measured |" in helps
    assert WORK_MEMORY in helps and "superuser" in helps and "4 s instead of 3 s for `rnnpipe runs`" in tried


def test_postgres_is_recommended_for_what_it_makes_quicker() -> None:
    helps, tried, _ = parts_of(remedies.help_text(result()))
    assert (
        "Postgres instead of SQLite (`rnnpipe stack up`), with 10,000 runs: 900 ms instead of 10 s for"
        ' "comparison: 100 runs, best first" | measured |' in helps
    )
    assert f'with 10,000 runs: 88 s instead of 50 s for "{TAG}"' in tried
    assert (
        "200 ms instead of 10 s for the comparison, beside 10,000 runs (SQLite), 200 ms instead of 1.6 s for the"
        " comparison, beside 100,000 runs (Postgres)" in helps
    )


def test_ten_times_as_much_is_told_by_what_takes_long_then() -> None:
    text, source = remedies.ten_times(result())
    assert text == (
        f'nothing that was tried with 1,000 runs makes this quick: "{TAG}", 12 s on SQLite and 16 s on Postgres;'
        f' "prune", 1.5 s in the workspace. {remedies.PRUNED}'
    )
    assert source == "measured"
    quicker = result()
    quicker["cases"][2]["summary"][TAG]["median"] = 6.0
    text, _ = remedies.ten_times(quicker)
    assert text.startswith(f'{remedies.STACK}: 6 s instead of 12 s for "{TAG}". nothing that was tried')
    assert remedies.ten_times({"cases": [], "crowds": []}) == (remedies.PRUNED, "follows from the tables")
    quick = {"cases": [case("SQLite", 1000, 0.5, tag=0.1)], "crowds": []}
    assert remedies.ten_times(quick)[0].startswith("nothing that was asked takes a second. ")


LOGGED = "log 6 points"


def test_what_a_backlog_may_have_slowed_is_no_gain() -> None:
    crowds = [
        crowd("comparison", "1 worker", 10, 1.2), crowd("comparison", "1 worker", 100, 0.9, errors=38),
        crowd(LOGGED, "1 worker", 1, 0.1), crowd(LOGGED, "1 worker", 10, 17.0),
        crowd("comparison", "4 workers", 10, 1.1), crowd("comparison", "4 workers", 100, 0.5, errors=79),
        crowd(LOGGED, "4 workers", 1, 14.8), crowd(LOGGED, "4 workers", 10, 67.1),
    ]  # fmt: skip
    helps, tried, unknown = parts_of(remedies.help_text(result(crowds=tuple(crowds))))
    assert "workers" not in helps and "MLFLOW_SQLALCHEMYSTORE" not in helps
    assert "17.0" not in helps + tried + unknown
    assert "larger pool: 1.1 (4 workers) instead of 1.2 (1 worker) comparisons a second for 10 clients" in tried
    assert "larger pool: epochs logged a second for 10 clients, as the servers had errors" in unknown


def test_rows_without_a_backlog_are_compared() -> None:
    crowds = (
        crowd(LOGGED, "1 worker", 10, 38.0),
        crowd(LOGGED, "2 workers", 10, 99.0, errors=1),
        crowd(LOGGED, "4 workers", 10, 67.1),
    )
    helps, _, unknown = parts_of(remedies.help_text(result(crowds=crowds)))
    assert ": 67.1 (4 workers) instead of 38.0 (1 worker) epochs logged a second for 10 clients | mea" in helps
    assert all(name in helps for name in POOL) and not unknown


def test_what_was_not_measured_is_not_told_as_measured() -> None:
    text = remedies.help_text({"cases": [], "crowds": []})
    assert "| measured |" not in text and "Tried" not in text and "```sql" not in text
    assert "several API servers of Prefect with Redis" in text and "PREFECT_MESSAGING_BROKER" in text


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (REFUSED, "a page in the browser didn't show within 180 s what it was opened for"),
        (" ".join(REFUSED.split()), "a page in the browser didn't show within 180 s what it was opened for"),
        ("LookupError: two servers need redis-server", "two servers need redis-server"),
        ("KeyError: 'size'", "KeyError: 'size'"),
        ("OperationalError: the disk is full. SELECT 1", "the disk is full"),
    ],
)
def test_an_error_is_told_by_its_first_sentence(message: str, text: str) -> None:
    assert reasons.for_people(message) == text
    assert reasons.for_people(text) == text


def test_what_was_left_out_is_told_without_a_log() -> None:
    sizes = {"sqlite": [1000, 10_000, 100_000], "postgres": [1000]}
    found = [case("SQLite", 1000, 1), case("SQLite", 10_000, 1), case("Postgres", 1000, 1)]
    known = {"cases": [*found, case("Postgres", 1000, 1, "prefect")], "conditions": {"sizes": sizes}}
    crowds = [crowd(LOGGED, "1 worker", 1, 1.0), {**crowd(LOGGED, "1 server", 1, 1.0), "part": "prefect"}]
    skipped = [f"MLflow and Prefect on SQLite to its end ({' '.join(REFUSED.split())})"]
    text = reasons.left_out({**known, "crowds": crowds, "skipped": skipped})
    assert text == (
        "Left out: MLflow and Prefect on SQLite to its end (a page in the browser didn't show within 180 s what it"
        " was opened for). There are no figures of: MLflow on SQLite with 100,000 runs, many clients of MLflow on"
        " SQLite, Prefect on SQLite."
    )
    assert reasons.left_out({**known, "crowds": crowds, "skipped": []}) == ""
    ended = reasons.ended_early("MLflow on SQLite", TimeoutError(REFUSED.partition(": ")[2]))
    assert ended == f"MLflow on SQLite to its end ({reasons.for_people(REFUSED)})"


def test_the_changelog_says_what_was_measured() -> None:
    results = read_results([scale.NAME]).get(scale.NAME)
    told = re.search(r"synthetic runs \((.*?)\)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.DOTALL)
    if results is None or told is None:
        pytest.skip("no figures are committed, or they are no longer told")
    known = results[0]
    names, sizes = {"mlflow": "MLflow", "prefect": "Prefect"}, dict[tuple[str, int], list[str]]()
    for backend in ("Postgres", "SQLite"):
        for part, name in names.items():
            on = [each["size"] for each in known["cases"] if (each["part"], each["backend"]) == (part, backend)]
            if on:
                sizes.setdefault((backend, max(on)), []).append(name)
    expected = [f"{size:,} in {' and '.join(parts)} on {backend}" for (backend, size), parts in sizes.items()]
    assert " ".join(told[1].split()) == ", ".join(expected)
