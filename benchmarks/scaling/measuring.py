"""The cases of the benchmark: servers are filled step by step, and asked the same at each size."""

import sqlite3
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.scaling import scheduled, tracked
from benchmarks.scaling.asked_of_mlflow import EVERY_RUN, Asked
from benchmarks.scaling.asked_of_prefect import AskedOfPrefect
from benchmarks.scaling.browsing import MLFLOW_ROW, PREFECT_ROW, Browser
from benchmarks.scaling.reasons import ended_early
from benchmarks.scaling.sinks import Sink
from benchmarks.scaling.template import Template
from benchmarks.scaling.timing import Action, summary_of, timed_rounds
from benchmarks.scaling.workspaces import FILE_BYTES, hashing, make_workspace, store_actions
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.pipeline_runs import read_pipeline_runs
from rnnpipe.tracking.views import comparison_url, run_url, save_comparison_view

Case = dict[str, Any]
SYNTHETIC, BESIDE = "synthetic", "beside"
MOST_READ = 10_000  # reading every run of more takes minutes
BESIDE_FROM = 10_000_000  # the numbers of the runs of the other experiment


@dataclass(frozen=True)
class Sizes:
    """How many runs each server gets, step by step; versions in the registry; how often each action is timed."""

    postgres: tuple[int, ...] = (1_000, 10_000, 100_000)
    sqlite: tuple[int, ...] = (1_000, 10_000)  # with 100,000 the comparison takes longer than three minutes
    kept: tuple[int, ...] = (10, 1_000, 10_000)
    versions: int = 1_000
    beside: int = 1_000
    clients: tuple[int, ...] = (1, 10, 100)
    crowd_s: float = 8.0
    rounds: int = 5


@dataclass(frozen=True)
class Setting:
    """What all cases share."""

    template: Template
    sizes: Sizes
    browser: Browser | None
    folder: Path


def case_of(part: str, backend: str, size: int, actions: dict[str, Action], rounds: int, **more: Any) -> Case:
    """Time actions and return the case; `more` is kept with it."""
    measured = timed_rounds(actions, rounds, f"{part}, {backend}, {size:,}")
    return {
        "part": part, "backend": backend, "size": size, **more,
        "rounds": measured, "summary": summary_of(measured),
    }  # fmt: skip


def mlflow_cases(
    setting: Setting, *, backend: str, uri: str, page: str, sink: Sink, sizes: Sequence[int]
) -> Iterator[Case]:
    """Yield the cases of an MLflow at `uri`, whose pages are at `page`, with more and more runs."""
    template, workspace = setting.template, setting.folder / f"client of {backend}"
    tracking, beside = (open_tracking(uri, name, workspace) for name in (SYNTHETIC, BESIDE))
    for each in (tracking, beside):
        save_comparison_view(each, ("variant", "seed"))
    model = tracked.fill_registry(sink, template, setting.sizes.versions)
    place = tracking.client.get_experiment(beside.experiment_id).artifact_location
    tracked.fill(
        sink,
        tracked.TrackedRuns(template, beside.experiment_id, place),
        range(BESIDE_FROM, BESIDE_FROM + setting.sizes.beside),
    )
    place = tracking.client.get_experiment(tracking.experiment_id).artifact_location
    source = tracked.TrackedRuns(template, tracking.experiment_id, place)
    for before, size in zip((0, *sizes), sizes, strict=False):
        filled_s = _filled(lambda numbers: tracked.fill(sink, source, numbers), range(before, size))
        sink.settle()
        asked = Asked(tracking, beside, size, template, model)
        asked.check(source)
        actions = {**asked.actions(), **_mlflow_pages(setting.browser, page, tracking)}
        if size <= MOST_READ:
            actions[EVERY_RUN] = lambda: read_pipeline_runs(tracking)
        points = sum(source.steps(number) + source.metrics_a_run - 1 for number in range(size))
        yield case_of(
            "mlflow", backend, size, actions, setting.sizes.rounds,
            filled_s=filled_s, bytes=sink.size_bytes(), points=points, experiment_id=tracking.experiment_id,
        )  # fmt: skip


def prefect_cases(
    setting: Setting, *, backend: str, address: str, flow_id: str, sink: Sink, sizes: Sequence[int]
) -> Iterator[Case]:
    """Yield the cases of a Prefect server with more and more flow runs."""
    source = scheduled.FlowRuns(setting.template, flow_id, sink)
    for before, size in zip((0, *sizes), sizes, strict=False):
        filled_s = _filled(lambda numbers: scheduled.fill(sink, source, numbers), range(before, size))
        sink.settle()
        asked = AskedOfPrefect(address, flow_id, size)
        asked.check(source.tasks)
        with asked.client() as client:
            actions = {**asked.actions(client), **_prefect_pages(setting.browser, address)}
            case = case_of(
                "prefect", backend, size, actions, setting.sizes.rounds,
                filled_s=filled_s, bytes=sink.size_bytes(),
            )  # fmt: skip
        yield case


def attempt(name: str, measure: Callable[[], object]) -> list[str]:
    """Measure a part; return why it was left out or ended early, in words: an hour isn't lost with one server."""
    try:
        measure()
    except Exception as error:
        traceback.print_exc()
        return [ended_early(name, error)]
    return []


def store_cases(setting: Setting) -> Iterator[Case]:
    """Yield the cases of a workspace with more and more kept runs, and how fast files are verified."""
    folder = setting.folder / "kept"
    folder.mkdir()
    rounds = setting.sizes.rounds
    for before, size in zip((0, *setting.sizes.kept), setting.sizes.kept, strict=False):
        make_workspace(folder, setting.template, range(before, size))
        yield case_of("store", "workspace", size, store_actions(folder, size), rounds)
    yield case_of("store", "file", FILE_BYTES, hashing(folder), rounds)


def versions_of_servers() -> dict[str, str]:
    """Return the versions of what was measured."""
    from importlib.metadata import version

    names = ("mlflow", "prefect", "sqlalchemy", "psycopg", "asyncpg")
    return {**{name: version(name) for name in names}, "sqlite": _sqlite_version()}


def _mlflow_pages(browser: Browser | None, page: str, tracking: Tracking) -> dict[str, Action]:
    if browser is None:
        return {}
    experiment, run = tracking.experiment_id, tracked.run_uuid(1)
    return {
        "comparison page, until its table shows": lambda: browser.see(
            comparison_url(page, experiment), MLFLOW_ROW
        ),
        "run page, until its metrics show": lambda: browser.see(
            run_url(page, experiment, run), "text=test/accuracy_pct"
        ),
    }


def _prefect_pages(browser: Browser | None, address: str) -> dict[str, Action]:
    if browser is None:
        return {}
    return {"flow runs page, until a run shows": lambda: browser.see(f"{address}/runs", PREFECT_ROW)}


def _filled(fill: Any, numbers: range) -> float:
    began_s = time.perf_counter()
    fill(numbers)
    filled_s = time.perf_counter() - began_s
    click.echo(f"filled with {len(numbers):,} in {filled_s:.0f} s")
    return filled_s


def _sqlite_version() -> str:
    with closing(sqlite3.connect(":memory:")) as connection:
        return str(connection.execute("SELECT sqlite_version()").fetchone()[0])
