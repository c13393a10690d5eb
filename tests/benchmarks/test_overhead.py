"""The arithmetic of the overhead, on made-up seconds, and the page's section of it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import overhead, starts
from benchmarks.rounds import load_of, summarize
from benchmarks.runs import END, EXPORT, LOOP, READ_BACK, START, Workspace

FIXED_S, SHARE = 12.0, 0.03


def made_up() -> dict[str, Any]:
    rounds = []
    for bare_s in (30.0, 31.0, 29.0):
        walls = {"bare short": bare_s, "bare long": 3 * bare_s}
        walls |= {f"run {length}": (1 + SHARE) * walls[f"bare {length}"] + FIXED_S for length in overhead.EPOCHS}
        nobody = dict.fromkeys(walls, 0.0)
        rounds.append({"wall_s": walls, "foreign_cores": nobody, "stolen_cores": nobody, "is_disturbed": False})
    again = {START: 4.0, "download": 0.01, END: 1.0}
    fresh = {START: 8.0, "download": 1.0, LOOP: 30.0, END: 1.0}
    runs = [{"epochs": 1, "wall_s": 40.0, "parts_s": fresh, "unchanged_s": 5.0, "unchanged_parts_s": again}] * 2
    summary = {**summarize(rounds, "bare long"), **overhead.solve(rounds), **overhead._of_runs(runs)}
    summary["starts_s"] = {name: {"median": 2.5, "min": 2.0, "max": 3.0} for name in sorted(starts.NAMES)}
    known = {
        "variant": "gru",
        "epochs": overhead.EPOCHS,
        "overrides": {},
        "threads": 1,
        "device": "cpu",
        "cpu_capability": "AVX512",
        "cores": 2,
    }
    known |= {"measured_at": "today", "torch": "2", "python": "3", "platform": "Linux"}
    return {"conditions": known, "load": load_of(rounds), "rounds": rounds, "runs": runs, "summary": summary}


def test_fixed_seconds_and_share_are_told_apart() -> None:
    summary = made_up()["summary"]
    for name, expected in (("fixed_s", FIXED_S), ("share", SHARE)):
        assert summary[name] == pytest.approx({"median": expected, "min": expected, "max": expected})
    assert summary["added_s"]["max"] == pytest.approx(FIXED_S + SHARE * 93)


def test_the_section_says_each_part_and_leaves_the_loop_out() -> None:
    text = overhead.section(made_up())
    assert "| fixed, s a run | 12.0 | 15 |" in text
    assert f"| {START} | 8.00 | 4.00 |" in text
    assert LOOP not in text and "Here they are" not in text
    table = text[text.index("| alone |") :]
    places = [table.index(f"| {name} | 2.50 [2.00 to 3.00] |") for name in starts.NAMES]
    assert places == sorted(places), "the text says what the first three are"


@pytest.mark.parametrize(
    ("models", "versions", "expected"),
    [
        ([], [], None),
        ([(1000, 1500)], [2000], None),  # of an earlier run
        ([(1000, 1500), (11_000, 12_500)], [2000, 13_000], {EXPORT: 1.5, READ_BACK: 0.5}),
        ([(11_000, 12_500)], [], None),  # not registered
    ],
)
def test_export_and_reading_back_are_from_mlflows_records(
    tmp_path: Path, models: list[tuple[int, int]], versions: list[int], expected: dict[str, float] | None
) -> None:
    workspace = Workspace(tmp_path)
    with closing(sqlite3.connect(workspace.home / "mlflow.db")) as database:
        database.execute("CREATE TABLE logged_models (creation_timestamp_ms, last_updated_timestamp_ms)")
        database.execute("CREATE TABLE model_versions (creation_time)")
        database.executemany("INSERT INTO logged_models VALUES (?, ?)", models)
        database.executemany("INSERT INTO model_versions VALUES (?)", [(each,) for each in versions])
        database.commit()
    assert workspace._export_s(10.0) == expected
