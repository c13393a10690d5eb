"""reproduce: a registered model made again from its own record, and compared."""

import click

from rnnpipe.cli.words import model_argument

EXIT_DIFFERENT = 4


@click.command(short_help="Make a registered model again and compare.")
@model_argument()
@click.option("--anyway", is_flag=True, help="Also on a machine that doesn't match the record.")
def reproduce(model: str, anyway: bool) -> int:
    """Train MODEL again from what stands on its version, and compare weights, losses and test predictions.

    MODEL is NAME (its champion), models:/NAME@ALIAS or models:/NAME/3. Prints SAME, or the first thing that
    differs and the likely cause, and writes it on the version as the tag rnnpipe.reproduced. Refuses where torch's
    build, the CPU's capability, the device, the threads, the libraries or the code aren't those of the record.
    """
    from rnnpipe.cli.opening import open_registry
    from rnnpipe.cli.progress import terminal_progress
    from rnnpipe.processes.launcher import Launcher
    from rnnpipe.tracking.registry import resolve_model_uri
    from rnnpipe.training.supervise import PRELOADED

    tracking, workspace = open_registry()
    version = resolve_model_uri(tracking, model)
    click.echo(f"{version.uri}: {version.tags.get('rnnpipe.variant', '')}", err=True)
    with Launcher(PRELOADED) as launcher, terminal_progress(None) as progress:
        launcher.warm_up()
        from rnnpipe import reproduction

        means = reproduction.Means(workspace, launcher, tell=progress.stage, follow=progress.training)
        outcome = reproduction.reproduce(tracking, version, means, anyway=anyway)
    click.secho(outcome.text, fg="green" if outcome.same else "red")
    return 0 if outcome.same else EXIT_DIFFERENT
