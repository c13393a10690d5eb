"""prune: what nobody needs any more is removed, and nothing else."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rnnpipe.tracking.prunable import Item

KIB = 1024


@click.command(short_help="Remove what no version and no recent run needs.")
@click.option("--yes", is_flag=True, help="Remove it; without, it is only listed.")
@click.option("--versions", is_flag=True, help="Also old versions of registered models that have no alias.")
@click.option(
    "--keep",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="Newest versions without alias that stay.",
)
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(min=1), help="What was used since then stays."
)
def prune(yes: bool, versions: bool, keep: int, days: int) -> None:
    """List what no version and no recent run needs, and why the rest stays; --yes removes it.

    These are: stored models in MLflow that no version refers to, outputs in the workspace's store, fetched models,
    reproductions, what is kept of old runs, temporary files; with --versions also old versions. Whatever an alias
    names stays, with its run, its model and the data it was made from. MLflow is that of MLFLOW_TRACKING_URI, else
    the workspace's.
    """
    from flows.spool import spooled
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.errors import TrackingError
    from rnnpipe.store import workspace_root
    from rnnpipe.tracking.prunable import Rules
    from rnnpipe.tracking.pruning import plan_pruning, remove_all

    if waiting := len(spooled(workspace_root())):
        raise TrackingError(
            f"MLflow doesn't hold {waiting} pipeline runs completely, so that it isn't known what they need",
            "`rnnpipe sync`, then prune",
        )
    tracking, workspace = open_registry()
    rules = Rules(keep=keep, versions=versions, days=days, now_s=time.time())
    items = plan_pruning(tracking, workspace, rules)
    _tell_what_stays([item for item in items if item.remove is None])
    going = [item for item in items if item.remove is not None]
    if not going:
        click.echo("nothing to remove")
    elif not yes:
        for item in going:
            click.echo(f"would remove  {_described(item)}")
        click.echo(f"{_size(going)} in {len(going)} things; --yes removes them")
    else:
        removed = []
        for item, is_gone in remove_all(going):
            removed += [item] * is_gone
            click.echo(
                f"removed       {_described(item)}" if is_gone else f"stays         {item.name}: in use again"
            )
        click.echo(f"removed {_size(removed)} in {len(removed)} things")


def _tell_what_stays(items: "Sequence[Item]") -> None:
    """Print versions one by one, of the rest how many stay for each reason."""
    for item in items:
        if item.kind == "version":
            click.echo(f"stays         {item.kind} {item.name}: {item.reason}")
    reasons = Counter((item.kind, item.reason) for item in items if item.kind != "version")
    for (kind, reason), count in sorted(reasons.items()):
        click.echo(f"stays         {kind} ({count}): {reason}")


def _described(item: "Item") -> str:
    return f"{item.kind} {item.name}: {item.reason}{f', {_size([item])}' if item.size_bytes else ''}"


def _size(items: "Sequence[Item]") -> str:
    size_bytes = sum(item.size_bytes for item in items)
    return f"{size_bytes / KIB**2:.1f} MiB" if size_bytes >= KIB**2 else f"{size_bytes / KIB:.1f} KiB"
