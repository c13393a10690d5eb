"""demo and serve-model: a registered model answers on this machine, to a page or to programs."""

import click

from rnnpipe.cli.words import model_argument

DEMO_PORT = 5028
MODEL_PORT = 5020


@click.command(short_help="Draw a digit in the browser; the champion and its rivals read it.")
@model_argument(required=False)
@click.option(
    "--port", default=DEMO_PORT, show_default=True, type=click.IntRange(1, 65535), help="The page's port."
)
@click.option("--no-open", is_flag=True, help="Tell the address, but open no browser.")
def demo(model: str | None, port: int, no_open: bool) -> None:
    """Open a page on loopback on which one draws: bars show what MODEL believes after each step, until Ctrl-C.

    Beside it read the best stored nets of the other variants that were trained on the same sequences. MODEL is
    NAME (its champion), models:/NAME@ALIAS or models:/NAME/3; it can be left out where one model is registered.
    """
    from rnnpipe.cli.interrupts import Terminated
    from rnnpipe.cli.opening import find_version, open_registry

    tracking, workspace = open_registry()
    version = find_version(tracking, model)
    from rnnpipe.serving.showing import show

    try:
        show(tracking, version, workspace, port=port, opens=not no_open, tell=click.echo)
    except Terminated:
        raise
    except KeyboardInterrupt:
        pass
    click.echo("the page is closed")


@click.command(short_help="Serve a registered model over HTTP; it follows the champion.")
@model_argument(required=False)
@click.option(
    "--port", default=MODEL_PORT, show_default=True, type=click.IntRange(1, 65535), help="Where it answers."
)
def serve_model(model: str | None, port: int) -> None:
    """Serve MODEL on loopback through `mlflow models serve`, in this environment, until Ctrl-C.

    When the alias moves, the new version is started beside the old one and takes over once it answers: no request
    is dropped. MODEL is NAME (its champion), models:/NAME@ALIAS or models:/NAME/3, which stays; it can be left out
    where one model is registered. POST /invocations takes {"inputs": [image, …]} and gives class probabilities.
    """
    from rnnpipe.cli.interrupts import Terminated
    from rnnpipe.cli.opening import find_version, open_registry

    tracking, workspace = open_registry()
    version = find_version(tracking, model)
    from rnnpipe.serving.following import serve

    try:
        serve(tracking, model or version.name, workspace, port=port, tell=click.echo)
    except Terminated:
        raise
    except KeyboardInterrupt:
        click.echo("the model is no longer served")
