"""What happens with many runs: real servers, filled with synthetic runs, are asked what people and rnnpipe ask.

It takes about an hour, so it is measured only when it is named: `make bench ONLY=scale`. Its figures are a page of
their own, docs/SCALE.md.
"""

import contextlib
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.conditions import closing, conditions
from benchmarks.rounds import load_of
from benchmarks.runs import adopt_orphans
from benchmarks.scaling.paper import page_text
from benchmarks.suite import Plan, Result
from rnnpipe.errors import RnnpipeError

NAME = "scale"
PLACE = 90
ON_REQUEST = True
PAGE = "SCALE.md"
PATIENCE_S = "600"
QUICK: dict[str, Any] = {
    "postgres": (21, 70), "sqlite": (21, 70), "kept": (3, 25), "versions": 5, "beside": 7, "clients": (1, 3),
    "crowd_s": 0.5,
}  # fmt: skip


def measure(plan: Plan) -> Result:
    """Return the cases (part, backend, size, every repeat), what many clients got at once, and the conditions."""
    # here, as they bring MLflow, which other benchmarks don't need
    from benchmarks.scaling.browsing import browser
    from benchmarks.scaling.measuring import Case, Setting, Sizes, attempt, store_cases, versions_of_servers
    from benchmarks.scaling.on_sqlite import mlflow_sqlite_cases, prefect_sqlite_cases
    from benchmarks.scaling.template import make_template

    adopt_orphans()
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = PATIENCE_S  # rnnpipe's own ten seconds would end what is measured
    sizes = Sizes(rounds=plan.rounds, **(QUICK if plan.quick else {}))
    cases: list[Case] = []
    crowds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="scale-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres' user has to get in
        own = folder / "template"
        own.mkdir()
        seen = None if plan.quick else stack.enter_context(browser())
        setting = Setting(make_template(own, plan.quick), sizes, seen, folder)
        cases += store_cases(setting)
        skipped = [
            *attempt("MLflow on SQLite", lambda: cases.extend(mlflow_sqlite_cases(setting, crowds))),
            *attempt("Prefect on SQLite", lambda: cases.extend(prefect_sqlite_cases(setting, crowds))),
        ]
        if lacking := _without_postgres():
            skipped += lacking
        else:
            from benchmarks.scaling.on_postgres import postgres_cases

            skipped += postgres_cases(setting, cases, crowds)
    return {
        "conditions": conditions(plan.threads or 1, sizes=vars(sizes), **versions_of_servers()),
        "load": load_of(each for case in cases for each in case["rounds"]),
        "cases": cases,
        "crowds": crowds,
        "skipped": [
            *skipped,
            *([] if seen else ["pages in a browser (they need Playwright and Chromium, and time)"]),
        ],
    }


def section(result: Result) -> str:
    """Return the section, which only says where the figures are."""
    runs = max(case["size"] for case in result["cases"] if case["part"] == "mlflow")
    return f"""## Scale

What gives first with more runs, images and users stands in [SCALE.md]({PAGE}): real servers with up to {runs:,}
synthetic runs, asked what people and rnnpipe ask. It takes about an hour, so that `make bench` leaves it out:
`make bench ONLY=scale` measures it.

{closing(result)}
"""


def pages(result: Result) -> dict[str, str]:
    """Return the page of its own, by file name."""
    return {PAGE: page_text(result)}


def _without_postgres() -> list[str]:
    """Return why Postgres is left out, in words; none where it is there."""
    from flows.stack.postgres import program

    try:
        program("postgres")
    except RnnpipeError as error:
        return [error.message]
    return [] if find_spec("psycopg") else ["Postgres: psycopg isn't installed"]
