"""The command lines of the documents: each is one that the command line takes."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rnnpipe.catalogue import VARIANTS
from rnnpipe.cli import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")


def rnnpipe_calls(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each rnnpipe that a shell would start, also inside a container."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    call: list[str] | None = None
    is_first = True
    try:
        words = list(lexer)
    except ValueError:  # it is no shell's line
        return
    for word in [*words, ";"]:
        if set(word) <= set(lexer.punctuation_chars):
            if call is not None:
                yield call
            call, is_first = None, True
        elif call is not None:
            call.append(word)
        elif word.rpartition("/")[2] == "rnnpipe" and (is_first or " exec " in line):
            call = []
        else:
            is_first = is_first and "=" in word


def command_lines(text: str) -> Iterator[tuple[list[str], bool]]:
    """Yield the arguments of each rnnpipe in a document, and whether it stands there to be typed."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from ((call, True) for call in rnnpipe_calls(line))
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from ((call, len(call) > 1) for call in rnnpipe_calls(span))


def check(arguments: list[str], is_typed: bool) -> None:
    """Raise a ClickException unless the command line takes this; what is only named needs no arguments."""
    command: click.Command = cli
    rest, context = list(arguments), click.Context(cli, **cli.context_settings)  # a command keeps its help options
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            raise click.UsageError(f"there is no command {name}")
        command = command.commands[name]
    if is_typed:
        command.make_context(str(command.name), rest, parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_is_one(path: Path) -> None:
    wrong = []
    for arguments, is_typed in command_lines(path.read_text(encoding="utf-8")):
        try:
            check(arguments, is_typed)
        except click.ClickException as error:
            wrong.append(f"rnnpipe {shlex.join(arguments)}: {error.format_message()}")
    assert wrong == []


def test_the_documents_show_commands() -> None:
    found = [call for path in DOCUMENTS for call, _ in command_lines(path.read_text(encoding="utf-8"))]
    assert len(found) > 20
    assert {"run", "doctor", "sync", "reproduce", "predict"} <= {call[0] for call in found if call}


@pytest.mark.parametrize(
    "text",
    [
        "```\nrnnpipe runn configs/mnist.yaml\n```",
        "```\nrnnpipe run\n```",
        "```\nA=1 rnnpipe run --epochs 3 c.yaml\n```",
        "```\nmake && rnnpipe run a.yaml b.yaml   # two\n```",
        "```\ndocker compose exec worker rnnpipe doctor now\n```",
        "say `rnnpipe demos --sed 3`",
        "`rnnpipe rum`",
    ],
)
def test_the_check_itself_sees_what_is_wrong(text: str) -> None:
    with pytest.raises(click.ClickException):
        for arguments, is_typed in command_lines(text):
            check(arguments, is_typed)


@pytest.mark.parametrize(
    "text",
    [
        "`rnnpipe run` and the package `rnnpipe`",
        "```\nrnnpipe run c.yaml --set training.epochs=3 > out.txt  # rnnpipe rum\nsudo -u rnnpipe ls\n```",
        "```\nrnnpipe predict digits-rows \\\n    my-digits/\n```",
    ],
)
def test_the_check_itself_lets_pass_what_is_right(text: str) -> None:
    found = list(command_lines(text))
    assert found
    for arguments, is_typed in found:
        check(arguments, is_typed)


TUTORIALS = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
FILE_AND_NAMES = re.compile(r"\]\(\.\./(\S+?\.py)\)((?: `\w+`,?)+)")
TEST = re.compile(r"`(tests/\S+?\.py)(?:::(\w+))?`")


def defined(path: str) -> set[str]:
    """Return what a module's top level defines."""
    names = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_what_became_of_each_line_of_the_tutorials_exists() -> None:
    places, tests = FILE_AND_NAMES.findall(TUTORIALS), TEST.findall(TUTORIALS)
    assert len(places) > 20 and len(tests) > 20
    for path, names in places:
        assert set(re.findall(r"\w+", names)) <= defined(path), path
    for path, name in tests:
        assert (ROOT / path).exists() and (not name or name in defined(path)), f"{path}::{name}"
    assert all((ROOT / path).exists() for path in re.findall(r"`(configs/\S+?)`", TUTORIALS))
    for source in ("SingleRNN", "BasicRNN", "CleanBasicRNN", "ImageRNN"):  # as the catalogue names them
        assert any(source in spec.source for spec in VARIANTS.values()) and f"`{source}" in TUTORIALS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_documents_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", FENCE.sub("", path.read_text(encoding="utf-8")))
    gone = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert gone == []
