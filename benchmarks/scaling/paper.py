"""docs/SCALE.md: what was measured, and what follows from it on paper, all from the result."""

from typing import Any

from benchmarks.conditions import closing
from benchmarks.scaling.backlog import note_on, with_backlogs
from benchmarks.scaling.reasons import left_out
from benchmarks.scaling.remedies import help_text
from benchmarks.scaling.steps import first_text, steps_table
from benchmarks.scaling.tables import (
    Case,
    changes_table,
    crowds_table,
    given_table,
    of_part,
    size_text,
    table,
    time_text,
    times_table,
)

HEAD = """# Scale

<!-- made by `python -m benchmarks` from benchmarks/results/; change those, or benchmarks/scaling -->

What happens with ten, a thousand and a hundred thousand times today's runs, images and users, which part gives
first, and what helps. Real servers were filled with synthetic runs and asked what people and rnnpipe ask:
`make bench ONLY=scale` does it again in about an hour. Read the growth: the milliseconds are those of a small
machine on which servers, browser and clients share all cores.
"""
HOW = """## How it was measured

- **The runs are copies of real ones.** `configs/quickstart.yaml` runs once; the rows that it leaves in MLflow's
  and Prefect's tables are written again and again, each run with its own key, id, times and accuracy: by COPY into
  Postgres, by inserts into SQLite. The tables were made by the servers' own migrations, and some of the runs are
  read back through the API and compared, parameters, tags, metrics and history, before anything is timed.
- **All runs lie in one experiment**, which is the worst case. A second one of {beside:,} runs lies beside it. One
  MLflow run in a hundred has the losses of 5,000 steps, the others those of 40: with the figures of epochs and
  test a hundred points a run. A training of `mnist.yaml` leaves some thousands, so its database is as many times
  as large. A registered model has {versions:,} versions. A flow run has three task runs.
- **The servers are those of `rnnpipe stack up`**: Postgres as Debian installs it, MLflow's server with one worker,
  Prefect's with its services, but without logins; at first also without the index that the stack makes, so that
  its worth can be seen. On SQLite, rnnpipe opens MLflow's file itself, as it does in a workspace, and its page is
  a server beside it.
- **A time is the median [smallest to largest] of {rounds} calls** after one that warms up, each through rnnpipe's
  own function where it has one. What takes longer than 15 s is done once. Pages: from the address in a new tab of
  Chromium, whose cache has what doesn't change, until the first row of the table is there.
- **Behind the semicolon stands CPU time**, the median of what client, servers and database worked in all, in steps
  of 10 ms: it counts no waiting for a core, and so depends less on what else the machine does.
- Not in these times: the seconds that a command takes to import MLflow. rnnpipe waits ten seconds for an answer of
  a server (`MLFLOW_HTTP_REQUEST_TIMEOUT`) before it asks again; here it waited as long as it took.
"""


def page_text(result: dict[str, Any]) -> str:
    """Return the page."""
    sizes = result["conditions"]["sizes"]
    tracked = of_part(result, "mlflow")
    parts = [
        HEAD,
        "## The steps, on paper\n\n" + steps_table(result),
        "## What gives first\n\n"
        + first_text(result)
        + "\n\nEverything that takes more than a second at one of the"
        " measured sizes, in the order in which it comes there; on Postgres without the index, which stands under"
        ' "With other settings". What hardly grows is a page\'s own time in the browser, or reads the registry,'
        f" which has {sizes['versions']:,} versions at each size.\n\n"
        + given_table(of_part(result, "mlflow", "prefect", "store")),
        "## What helps\n\n" + help_text(result),
        HOW.format(beside=sizes["beside"], versions=sizes["versions"], rounds=sizes["rounds"]),
        "## MLflow\n\n" + _filled(tracked) + "\n\n" + times_table(tracked, "runs"),
        *_settings(result, tracked),
        "## Prefect\n\n" + times_table(of_part(result, "prefect"), "flow runs"),
        "### Many at once\n\n" + _crowds(result, "prefect"),
        "## The workspace\n\nKept runs, each with a training and an evaluation of its own in the store.\n\n"
        + times_table([case for case in of_part(result, "store") if case["backend"] == "workspace"], "runs"),
        left_out(result),
        closing(result) + "\n" + _versions(result["conditions"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _settings(result: dict[str, Any], tracked: list[Case]) -> list[str]:
    """Return what settings change, and what many clients get."""
    changed = of_part(result, "mlflow setting")
    plain = [case for case in tracked if changed and case["backend"] == changed[0]["backend"].partition(":")[0]]
    parts = []
    if plain:
        text = f"The same with {plain[-1]['size']:,} runs; each column keeps what the one before it changed.\n\n"
        parts.append("### With other settings\n\n" + text + changes_table(plain[-1], changed))
    return [
        *parts,
        "### Many at once\n\nClients that ask as fast as they get answers. The one worker was asked before the"
        " index and `work_mem`, the others after; the four have the larger pool as well.\n\n"
        + _crowds(result, "mlflow"),
    ]


def _crowds(result: dict[str, Any], part: str) -> str:
    """Return the table of what many clients of MLflow or Prefect got, and what has to be known to read it."""
    rows = [each for each in with_backlogs(result["crowds"]) if each["part"] == part]
    return crowds_table(rows) + (f"\n\n{note_on(rows)}" if rows else "")


def _filled(cases: list[Case]) -> str:
    rows = [
        [
            case["backend"], f"{case['size']:,}", f"{case['points']:,}", size_text(case["bytes"]),
            time_text(case["filled_s"]),
        ]
        for case in cases
    ]  # fmt: skip
    return table(["database", "runs", "points of metrics", "on the disk", "filled in (these runs alone)"], rows)


def _versions(known: dict[str, Any]) -> str:
    names = ("mlflow", "prefect", "sqlalchemy", "psycopg", "asyncpg", "sqlite", "postgres")
    return ", ".join(f"{name} {known[name]}" for name in names if name in known) + "."
