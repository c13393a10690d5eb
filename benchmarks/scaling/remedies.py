"""What helps at which step, and what was tried in vain: chosen by what was measured, setting by setting."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from benchmarks.scaling.gains import Figure, figures, most_in_both, slow_on_sqlite
from benchmarks.scaling.settings import INDEX, POOL, WORK_MEMORY, redis_settings
from benchmarks.scaling.steps import TRAININGS
from benchmarks.scaling.tables import NOTICED_S, called, of_part, table, time_text

MEASURED = "measured"
STACK = "Postgres instead of SQLite (`rnnpipe stack up`)"
PRUNED = "`rnnpipe prune` from time to time, so that there are fewer runs"


@dataclass(frozen=True)
class Help:
    """What may help at a step: `how` is told only where it does, `known_from` where it wasn't measured.

    What has `figures` (of gains.figures) helps by those that are gains; the others are told as tried in vain.
    """

    at: str
    what: str
    known_from: str = ""
    figures: str = ""
    how: str = ""


HELP = (
    Help("1,000 times", STACK + ", with {common} runs", figures="database"),
    Help(
        "1,000 times",
        "the index on the tags by which rnnpipe finds runs",
        figures="index",
        how=", which `rnnpipe stack up` makes (statement below)",
    ),
    Help("1,000 times", "`work_mem` for MLflow's sorting", figures="sorting", how=" (statement below)"),
    Help("1,000 times", "an experiment a task, as rnnpipe has it: a page sorts less", figures="experiment"),
    Help(
        "1,000 times",
        "more workers of MLflow, with a larger pool",
        figures="workers",
        how=" (`--workers`, in flows/stack/services.py; settings below)",
    ),
    Help(
        "1,000 times",
        "several API servers of Prefect with Redis, its services in a process of their own",
        "read in Prefect's documentation",
        "servers",
        " (settings below)",
    ),
    Help(
        "1,000 times",
        "images and models on one disk no more: workspaces beside each other, `execution.engine: ray` with an"
        " exchange in an object store",
        "tested with three nodes, with a folder and MLflow's artifacts; of object stores read in fsspec's"
        " documentation",
    ),
    Help(
        "100,000 times",
        "MLflow's files in an object store (`--artifacts-destination s3://...`, in flows/stack/services.py); its"
        " server hands them on",
        "read in MLflow's documentation",
    ),
    Help(
        "100,000 times",
        "old runs out of MLflow: `rnnpipe prune` (MLflow's own `gc` would take a live champion's files), or a"
        " database a year, the old ones read-only",
        "follows from the tables",
    ),
    Help(
        "100,000 times",
        "several databases: a team or a task has its own MLflow, Prefect and workspace (`RNNPIPE_HOME`), as"
        " nothing in a workspace refers to another. A partition of one Postgres by experiment would have to be"
        " kept through MLflow's migrations",
        "follows from the store's layout",
    ),
    Help(
        "100,000 times",
        "Prefect's old flow runs away (`PREFECT_SERVER_SERVICES_DB_VACUUM_*`), Postgres and Redis replicated",
        "read in Prefect's documentation",
    ),
)


def help_text(result: dict[str, Any]) -> str:
    """Return what helps, the statements and settings for it, and what was tried without gain."""
    found, common = figures(result), f"{most_in_both(result):,}"
    rows = [["10 times", *ten_times(result)]]
    told, tried, unknown = set[str](), list[str](), list[str]()
    for each in HELP:
        what, known = each.what.format(common=common), found.get(each.figures, [])
        gained = _texts(known, True)
        if gained or (each.known_from and not known):
            words = f"{what}{each.how}" + (f": {gained}" if gained else "")
            rows.append([each.at, words, MEASURED if gained else each.known_from])
            told.add(each.figures)
        tried += [f"- {what}: {texts}" for texts in [_texts(known, False)] if texts]
        unknown += [f"- {what}: {texts}" for texts in [_texts(known, None)] if texts]
    return "\n\n".join(
        [
            table(["at", "what", "known from"], rows),
            *_statements(told),
            *_listed("Tried without gain", "Better by less than a tenth, or worse:", tried),
            *_listed("Not known", "What this measurement doesn't tell:", unknown),
        ]
    )


def ten_times(result: dict[str, Any]) -> tuple[str, str]:
    """Return what helps with ten times today's trainings and where nothing does, and whence that is known."""
    size = 10 * TRAININGS
    if not any((case["backend"], case["size"]) == ("SQLite", size) for case in of_part(result, "mlflow")):
        return PRUNED, "follows from the tables"
    told = []
    slow = slow_on_sqlite(result, size)
    if gained := _texts([each.on_postgres for each in slow if each.on_postgres], True):
        told.append(f"{STACK}: {gained}")
    left = [
        f'"{each.action}", {time_text(each.sqlite_s)} on SQLite'
        + (f" and {time_text(each.postgres_s)} on Postgres" if each.postgres_s is not None else "")
        for each in slow
        if not (each.on_postgres and each.on_postgres.is_gain)
    ]
    left += [
        f'"{called(action)}", {time_text(each["median"])} in the workspace'
        for case in of_part(result, "store")
        if (case["backend"], case["size"]) == ("workspace", size)
        for action, each in sorted(case["summary"].items(), key=lambda item: -item[1]["median"])
        if each["median"] > NOTICED_S
    ]
    if left:
        told.append(f"nothing that was tried with {size:,} runs makes this quick: {'; '.join(left)}")
    return ". ".join([*(told or ["nothing that was asked takes a second"]), PRUNED]), MEASURED


def _texts(known: list[Figure], is_gain: bool | None) -> str:
    return ", ".join(each.text for each in known if each.is_gain is is_gain)


def _listed(title: str, opening: str, points: list[str]) -> list[str]:
    return ["\n\n".join([f"### {title}", opening, "\n".join(points)])] if points else []


def _statements(told: Set[str]) -> list[str]:
    """Return the statements and settings of what helps, and of nothing else."""
    statements = {"index": f"{INDEX};", "sorting": f"{WORK_MEMORY};"}
    chosen = [text for name, text in statements.items() if name in told]
    parts = []
    if chosen:
        who = "as its owner" + (" and as Postgres' superuser" if "sorting" in told else "")
        parts.append("\n".join([f"For the database `mlflow`, {who}:", "", "```sql", *chosen, "```"]))
    if "workers" in told:
        parts.append(f"MLflow's pool: {_in_code(POOL)}.")
    if "servers" in told:
        parts.append(
            "Two servers of Prefect, with Redis at `ADDRESS` (`pip install prefect-redis`; one of them, or a"
            f" process of its own, has the services): {_in_code(redis_settings('ADDRESS'))}."
        )
    return parts


def _in_code(settings: dict[str, str]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in settings.items())
