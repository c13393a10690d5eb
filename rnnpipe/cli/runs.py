"""runs: the past pipeline runs of a workspace, found by tag, config or experiment."""

import json
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rnnpipe.tracking.pipeline_runs import PipelineRun

NOTHING = "no run is tracked yet; `rnnpipe run configs/quickstart.yaml` makes one"
LEFT_OUT = ("trainings", "experiment", "ended (UTC)", "config")  # where there is no room for all, in this order


@click.command(short_help="List past pipeline runs, or find them by tag.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY[=VALUE]",
    help="Only runs with this tag in MLflow, with or without its prefix rnnpipe.; repeatable, all have to match.",
)  # fmt: skip
@click.option("--config", metavar="NAME", help="Only runs of the config with this name.")
@click.option("--experiment", metavar="NAME", help="Only runs of this MLflow experiment.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Most runs listed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with every training and all tags.")
def runs(tags: tuple[str, ...], config: str | None, experiment: str | None, *, limit: int, as_json: bool) -> None:
    """List the past pipeline runs that MLflow holds, newest first: config, best variant, test accuracy, verdict.

    The best variant is the registered one, else that with the highest test accuracy. A training that several runs
    used is listed with each of those made in this workspace, and of others with the last. `rnnpipe runs --tag
    device=cpu --tag prefect.flow_run_id` finds by tag; tags of your own can be set on MLflow's page.
    """
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.reporting.facts import kept_facts
    from rnnpipe.tracking.newest_runs import newest_pipeline_runs
    from rnnpipe.tracking.pipeline_runs import read_pipeline_runs

    tracking, workspace = open_registry()

    def is_of_config(run: "PipelineRun") -> bool:
        return config is None or run.config == config

    if tags:  # any training may have them, so all are read
        every, is_all = read_pipeline_runs(tracking, experiment, kept_facts(workspace)), True
    else:
        every, is_all = newest_pipeline_runs(
            tracking, experiment, partial(kept_facts, workspace), limit=limit + 1, fits=is_of_config
        )
    asked = [(name, value if separator else None) for name, separator, value in (t.partition("=") for t in tags)]
    found = [run for run in every if is_of_config(run) and all(run.has_tag(name, value) for name, value in asked)]
    if as_json:
        click.echo(json.dumps([_as_json(run) for run in found[:limit]], indent=1))
    elif found:
        _print(found, limit, is_all=is_all)
    else:
        click.echo(_none_like_that(every) if tags or config or experiment else NOTHING)


def _none_like_that(every: "Sequence[PipelineRun]") -> str:
    """Return that nothing fits, and what there is."""
    configs = sorted({run.config for run in every if run.config})
    there = f" of {len(every)} fits; configs: {', '.join(configs) or '(none)'}" if every else " fits"
    return f"no run{there}; `rnnpipe runs` lists all"


def _print(found: "Sequence[PipelineRun]", limit: int, *, is_all: bool) -> None:
    from rnnpipe.cli.outcome import VERDICT_STYLES
    from rnnpipe.cli.tables import fitting_table, open_console

    console = open_console()
    rows = [_cells(run) for run in found[:limit]]
    champions = [
        number for number, run in enumerate(found[:limit]) if run.version and "champion" in run.version.aliases
    ]
    styles = dict.fromkeys(champions, VERDICT_STYLES["PROMOTE"])
    console.print(fitting_table(console, "", rows, LEFT_OUT, styles))
    if len(found) > limit:
        more = f"{len(found) - limit} more; --limit {len(found)} lists all"
        console.print(
            more if is_all else f"there are more; --limit {2 * limit} lists up to {2 * limit}", style="dim"
        )


def _cells(run: "PipelineRun") -> dict[str, str]:
    """Return heading and text of each cell."""
    best, accuracy, ended = run.best, "-", "-"
    if best is not None and best.accuracy is not None:
        accuracy = f"{100 * best.accuracy:.2f}"
        if best.accuracy_low is not None and best.accuracy_high is not None:
            accuracy += f" ({100 * best.accuracy_low:.2f} to {100 * best.accuracy_high:.2f})"
    if run.ended_at_ms is not None:
        ended = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.ended_at_ms / 1000))
    return {
        "run": run.run,
        "ended (UTC)": ended,
        "config": run.config or "-",
        "experiment": run.experiment,
        "best": best.variant if best else "-",
        "test % (95 % interval)": accuracy,
        "verdict": (run.version.verdict if run.version else "") or "-",
        "trainings": str(len(run.trainings)),
    }


def _as_json(run: "PipelineRun") -> dict[str, Any]:
    """Return what `--json` says of a run."""
    version = run.version
    return {
        "run": run.run,
        "config": run.config,
        "experiment": run.experiment,
        "ended": _stamp(run.ended_at_ms),
        "best": run.best.run_id if run.best else None,
        "version": version and {"uri": version.uri, "verdict": version.verdict, "aliases": version.aliases},
        "trainings": [
            {
                "run_id": each.run_id,
                "variant": each.variant,
                "seed": each.seed,
                "status": each.status,
                "ended": _stamp(each.ended_at_ms),
                "accuracy": each.accuracy,
                "accuracy_low": each.accuracy_low,
                "accuracy_high": each.accuracy_high,
                "tags": dict(each.tags),
            }
            for each in run.trainings
        ],
    }


def _stamp(time_ms: int | None) -> str | None:
    return None if time_ms is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))
