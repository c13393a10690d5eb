"""Synthetic flow runs in Prefect's tables: copies of a real one's, each with its own ids, name and times."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.scaling.sinks import Sink
from benchmarks.scaling.template import Row, Template

START = datetime(2026, 1, 1, tzinfo=UTC)
APART, SECOND = timedelta(minutes=2), timedelta(seconds=1)
TOOK_S = 45.0
TASKS = 3  # task runs of a flow run
FAILED_EVERY = 50
SPACE = uuid.UUID("b1a6a3d4-0000-4000-8000-000000000000")
FINAL, FAILED = "COMPLETED", "FAILED"
TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state")
TIMES = ("created", "updated", "timestamp", "start_time", "end_time", "expected_start_time", "state_timestamp")
# what a synthetic run has none of
EMPTY = (
    "deployment_id", "deployment_version", "parent_task_run_id", "work_queue_id", "work_queue_name",
    "work_pool_id", "idempotency_key", "auto_scheduled_schedule_id", "next_scheduled_start_time", "cache_key",
    "result_artifact_id", "infrastructure_document_id", "job_variables",
)  # fmt: skip


class FlowRuns:
    """The rows of synthetic flow runs, their states, and three task runs of each with theirs, by table."""

    def __init__(self, template: Template, flow_id: str, sink: Sink) -> None:
        rows = template.prefect
        (self._flow_run,) = (row for row in rows["flow_run"] if row["state_type"] == FINAL)
        done = [row for row in rows["task_run"] if row["state_type"] == FINAL]
        self._task_runs = done[:TASKS]
        self._states = {
            "flow_run": [
                row for row in _by_time(rows["flow_run_state"]) if row["flow_run_id"] == self._flow_run["id"]
            ],
            **{
                row["id"]: [
                    state for state in _by_time(rows["task_run_state"]) if state["task_run_id"] == row["id"]
                ]
                for row in self._task_runs
            },
        }
        self.tasks = len(self._task_runs)
        self._flow_id, self._took, self._sink = flow_id, sink.interval(TOOK_S), sink

    def columns(self, table: str) -> list[str]:
        """Return the columns that both the template and the target have."""
        original = {
            "flow_run": self._flow_run,
            "flow_run_state": self._states["flow_run"][0],
            "task_run": self._task_runs[0],
            "task_run_state": self._states[self._task_runs[0]["id"]][0],
        }[table]
        return [name for name in self._sink.columns(table) if name in original]

    def rows(self, table: str, number: int) -> Iterator[Row]:
        """Yield the rows that a flow run has in a table."""
        yield from getattr(self, f"_{table}_rows")(number)

    def _flow_run_rows(self, number: int) -> Iterator[Row]:
        kept = self._states["flow_run"][-1]
        is_failed = number % FAILED_EVERY == 0
        ended = {"state_type": FAILED, "state_name": "Failed"} if is_failed else {}
        yield (
            self._made(self._flow_run, number)
            | ended
            | {
                "id": _id("flow run", number),
                "flow_id": self._flow_id,
                "name": f"synthetic-{number}",
                "state_id": _id("flow run state", number, kept["id"]),
            }
        )

    def _flow_run_state_rows(self, number: int) -> Iterator[Row]:
        for place, row in enumerate(self._states["flow_run"]):
            own = {"id": _id("flow run state", number, row["id"]), "flow_run_id": _id("flow run", number)}
            yield self._made(row, number) | own | {"timestamp": _text(START + number * APART + place * SECOND)}

    def _task_run_rows(self, number: int) -> Iterator[Row]:
        for row in self._task_runs:
            kept = self._states[row["id"]][-1]
            yield self._made(row, number) | {
                "id": _id("task run", number, row["id"]),
                "flow_run_id": _id("flow run", number),
                "state_id": _id("task run state", number, kept["id"]),
            }

    def _task_run_state_rows(self, number: int) -> Iterator[Row]:
        for run in self._task_runs:
            for place, row in enumerate(self._states[run["id"]]):
                yield self._made(row, number) | {
                    "timestamp": _text(START + number * APART + place * SECOND),
                    "id": _id("task run state", number, row["id"]),
                    "task_run_id": _id("task run", number, run["id"]),
                }

    def _made(self, original: Row, number: int) -> Row:
        """Return a copy with the times of this run, and without ties to what isn't there."""
        began = START + number * APART
        texts = dict.fromkeys(TIMES, _text(began)) | {"end_time": _text(began + timedelta(seconds=TOOK_S))}
        changed: dict[str, Any] = {name: text for name, text in texts.items() if name in original}
        changed |= {name: None for name in EMPTY if name in original}
        if "total_run_time" in original:
            changed["total_run_time"] = self._took
        return {**original, **changed}


def fill(sink: Sink, source: FlowRuns, numbers: range) -> None:
    """Write these flow runs into Prefect's tables."""
    for table in TABLES:
        columns = source.columns(table)
        sink.write(
            table,
            columns,
            (tuple(row[name] for name in columns) for number in numbers for row in source.rows(table, number)),
        )


def _by_time(states: list[Row]) -> list[Row]:
    return sorted(states, key=lambda state: str(state["timestamp"]))


def _id(kind: str, number: int, original: str = "") -> str:
    return str(uuid.uuid5(SPACE, f"{kind} {number} {original}"))


def _text(time: datetime) -> str:
    """Return a time as SQLAlchemy keeps it in SQLite, which Postgres reads as well."""
    return time.strftime("%Y-%m-%d %H:%M:%S.%f")
