"""run and demos: the flows, with their progress and their outcome in the terminal."""

import logging
import os
from pathlib import Path
from typing import Any

import click

from rnnpipe.cli.words import OVERRIDES

EXIT_FAILED_TRAINING = 4
EXIT_NOT_TRACKED = 5


@click.command(short_help="Run the pipeline that a config describes.")
@click.argument("config", type=click.Path(path_type=Path))
@OVERRIDES
def run(config: Path, overrides: tuple[str, ...]) -> int:
    """Run the pipeline of CONFIG: download, train every variant, compare, register, promote.

    What is stored already is skipped, and the reason is told. --set takes YAML: --set training.epochs=3,
    --set 'data.mirrors=["https://mirror.example/mnist"]', --set variants.0.hidden_size=64.
    """
    return run_config("flows.pipeline:pipeline", config, overrides)


def run_config(target: str, config: Path, overrides: tuple[str, ...], **parameters: Any) -> int:
    """Run the flow `target` on a config's sections, show how it goes and ends, and return the exit code."""
    from rnnpipe.config import load_config

    loaded = load_config(config, overrides)
    from rnnpipe.cli.progress import terminal_progress

    with terminal_progress(loaded) as progress:
        quieten_prefect()
        from flows.run import run_flow

        summary = run_flow(target, progress, loaded, **parameters)
    from flows.summary import RunSummary

    if not isinstance(summary, RunSummary):  # nothing had changed, and that has been told
        return 0
    from rnnpipe.cli.outcome import print_outcome

    print_outcome(summary)
    if summary.failures:
        return EXIT_FAILED_TRAINING
    return EXIT_NOT_TRACKED if summary.tracking_problem else 0


@click.command(short_help="Run the tutorials' toy demos, with the parity check.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights.")
def demos(seed: int) -> int:
    """Run the tutorials' toy demos: four instances, two time steps, one and five neurons; and the parity check."""
    from rnnpipe.cli.outcome import print_demos
    from rnnpipe.cli.progress import terminal_progress

    with terminal_progress(None) as progress:
        quieten_prefect()
        from flows.run import run_flow

        outcome = run_flow("flows.demos:recurrence_demos", progress=progress, seed=seed)
    print_demos(outcome)
    if not all(report["agrees"] for report in outcome.reports):
        return EXIT_FAILED_TRAINING
    return EXIT_NOT_TRACKED if outcome.tracking_problem else 0


def quieten_prefect() -> None:
    """Leave the terminal to the progress display and to warnings of ours; Prefect's pages have the whole log.

    Inside the display, whose sys.stderr prints above it.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    logging.raiseExceptions = False  # logs that a lost Prefect doesn't take: that it is lost is told in words
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("rnnpipe")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
