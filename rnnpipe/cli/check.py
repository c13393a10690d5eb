"""validate, variants, datasets: what needs neither torch nor a server."""

from collections.abc import Sequence
from pathlib import Path

import click

from rnnpipe.cli.words import OVERRIDES


@click.command(short_help="Check configs; every mistake at once.")
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@OVERRIDES
def validate(configs: tuple[Path, ...], overrides: tuple[str, ...]) -> int:
    """Check configs and list every mistake at once: field, value, reason, nearest valid name."""
    from rnnpipe.config import validate_file

    code = 0
    for path in configs:
        mistakes = validate_file(path, overrides)
        if mistakes is None:
            click.echo(f"{click.format_filename(path)}: valid")
        else:
            click.secho(mistakes, fg="red", err=True)
            code = 2
    return code


@click.command(short_help="List the recurrent nets.")
def variants() -> None:
    """List the recurrent nets, with their sizes and where they come from."""
    from rnnpipe.catalogue import VARIANTS

    rows = [
        (
            name,
            spec.summary,
            f"{spec.hidden_size} x {spec.num_layers}",
            ", ".join(sorted(spec.options)),
            spec.source,
        )
        for name, spec in VARIANTS.items()
    ]
    _print_table(("variant", "what it is", "neurons x layers", "options", "source"), rows)
    _print_problems("variant")


@click.command(short_help="List the datasets and the sequence transforms.")
def datasets() -> None:
    """List the datasets, and the transforms that turn their images into sequences."""
    from rnnpipe.catalogue import DATASETS, SEQUENCES

    _print_table(("dataset", "what it is"), [(name, spec.summary) for name, spec in DATASETS.items()])
    _print_table(("sequence", "what it is"), [(name, spec.summary) for name, spec in SEQUENCES.items()])
    _print_problems("dataset", "sequence transform")


def _print_problems(*kinds: str) -> None:
    """Tell which plug-ins can't be used."""
    from rnnpipe.catalogue import PROBLEMS

    for kind in kinds:
        for name, problem in PROBLEMS[kind].items():
            click.secho(f"the {kind} {name} can't be used: {problem}", fg="red", err=True)


def _print_table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*headings, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print()
