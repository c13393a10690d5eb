"""report: all of a run as one page that can be sent to anybody."""

from pathlib import Path

import click

from rnnpipe.cli.words import run_argument


@click.command(short_help="Write all of a run as one HTML page.")
@run_argument("run")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file; else report-RUN.html here.")
def report(run: str, output: Path | None) -> None:
    """Write RUN as one HTML file that needs no network: leaderboard, verdict, figures, config, reasons.

    RUN is the id that `rnnpipe run` prints or one of MLflow's, a config's file (its last run in this workspace),
    or a registered version: NAME (its champion), models:/NAME@ALIAS or models:/NAME/3 (whose run registered it).
    The same page is the artifact report.html of the best model's run in MLflow. The name of a sweep, as `rnnpipe
    sweep` prints it, gives that sweep's page.
    """
    from rnnpipe.files import write_bytes
    from rnnpipe.reporting.kept import find_kept
    from rnnpipe.reporting.run_page import run_page
    from rnnpipe.reporting.sweep_page import sweep_page
    from rnnpipe.store import Store, workspace_root
    from rnnpipe.sweeping.facts import kept_sweep, sweep_folder

    workspace = workspace_root()
    if (tried := kept_sweep(workspace, run)) is not None:
        found, page = tried.name, sweep_page(sweep_folder(workspace, run), tried).encode()
    elif (facts := find_kept(workspace, run)) is not None:
        found, page = facts.run, run_page(workspace, facts, Store(workspace / "store")).encode()
    else:
        from rnnpipe.cli.opening import open_registry
        from rnnpipe.tracking.sides import find_page

        found, page = find_page(*open_registry(), run)
    kind = "run" if tried is None else "sweep"
    path = output or Path(f"report-{found}.html")
    write_bytes(path, page)
    click.echo(f"{path}  {kind} {found}, {len(page) / 1e6:.1f} MB")
