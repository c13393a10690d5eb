"""Arguments and options that several commands take, and what a shell completes them to: light, as a Tab is."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from pydantic import BaseModel

Decorated = TypeVar("Decorated", bound="Callable[..., Any] | click.Command")


def _fields_like(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from rnnpipe.config import PipelineConfig

    return [path for path in _paths_of(PipelineConfig, "") if path.startswith(incomplete)]


def _paths_of(section: "type[BaseModel]", prefix: str) -> Iterator[str]:
    """Yield the fields of a section and those below it; of a list, those of its first item."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
        kind = get_origin(field.annotation)
        if inner is None or kind is dict:
            yield f"{prefix}{name}="
        else:
            yield from _paths_of(inner, f"{prefix}{name}.0." if kind is tuple else f"{prefix}{name}.")


def _models_like(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from rnnpipe.store import workspace_root
    from rnnpipe.tracking.names import registered_names

    return [name for name in registered_names(workspace_root()) if name.startswith(incomplete)]


def _runs_like(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer registered models, and where none begins like that, files: a config stands for its last run."""
    models = [CompletionItem(name) for name in _models_like(context, parameter, incomplete)]
    return models or [CompletionItem(incomplete, type="file")]


def _datasets_like(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from rnnpipe.catalogue import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Override a field; repeatable.",
    shell_complete=_fields_like,
)  # fmt: skip
DATASET = click.argument("dataset", shell_complete=_datasets_like)


def model_argument(name: str = "model", *, required: bool = True) -> Callable[[Decorated], Decorated]:
    """Return what adds the argument for a registered model to a command."""
    return click.argument(name, required=required, shell_complete=_models_like)


def run_argument(name: str) -> Callable[[Decorated], Decorated]:
    """Return what adds the argument for a run, a config's file or a registered model to a command."""
    return click.argument(name, shell_complete=_runs_like)


SHELLS = ("bash", "zsh", "fish")
# What ends in "=" wants its value behind it, not a space.
NO_SPACE = "    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"


@click.command(short_help="Print what makes a shell complete rnnpipe's words.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands, options, files, fields of --set and model names.

    In ~/.bashrc: eval "$(rnnpipe completion bash)". In ~/.zshrc: eval "$(rnnpipe completion zsh)". For fish:
    rnnpipe completion fish > ~/.config/fish/completions/rnnpipe.fish.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    context = click.get_current_context().find_root()
    assert kind is not None
    script = kind(context.command, {}, "rnnpipe", "_RNNPIPE_COMPLETE").source()
    if shell == "bash":
        script = script.replace("    return 0\n", f"{NO_SPACE}    return 0\n")
    click.echo(script)
