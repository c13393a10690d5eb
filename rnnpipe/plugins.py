"""Variants, datasets and transforms of other packages, which these register as entry points.

A package names what it has in its pyproject.toml; nothing of ours is touched. What can't be used doesn't stop what
doesn't need it: the reason is told to whoever names it.
"""

import importlib.util
import re
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import TypeVar

from rnnpipe.files import digest_of, sha256_file, sha256_tree

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
OWN = "rnnpipe."
Spec = TypeVar("Spec")


def add_plugins(entries: EntryPoints, known: dict[str, Spec], kind: type[Spec]) -> dict[str, str]:
    """Add what other packages register as a group of entry points; return by name why something can't be used.

    A name that two have belongs to neither: which one would be meant depends on what else is installed.
    """
    problems: dict[str, str] = {}
    owners = dict.fromkeys(known, "rnnpipe itself")
    for entry in sorted(entries, key=lambda each: (each.name, _package(each))):
        if entry.name in owners:
            problems[entry.name] = (
                f"both {owners[entry.name]} and the package {_package(entry)} have one of this name; rename it in"
                f" the entry points of one, or uninstall it"
            )
            continue
        owners[entry.name] = f"the package {_package(entry)}"
        spec, problem = _load(entry, kind)
        if spec is None:
            problems[entry.name] = f"the package {_package(entry)} registers it, but {problem}"
        else:
            known[entry.name] = spec
    return problems


def _load(entry: EntryPoint, kind: type[Spec]) -> tuple[Spec | None, str]:
    """Return what an entry point names, or why it can't be used."""
    if not NAME.fullmatch(entry.name):
        return None, "a name is lower-case letters, digits and dashes"
    try:
        found = entry.load()
    except Exception as error:  # whatever the import of a stranger's module raises
        return None, f"{entry.value} can't be imported: {type(error).__name__}: {error}"
    if not isinstance(found, kind):
        return None, f"{entry.value} is a {type(found).__name__}, not a {kind.__name__}"
    return found, ""


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def code_of(*targets: str) -> dict[str, dict[str, str]]:
    """Return {"plugin": {package: SHA-256}} of the packages behind targets; nothing for our own code.

    It is part of what a stage's output depends on. RuntimeError where a package isn't there.
    """
    packages = {target.partition(":")[0].partition(".")[0] for target in targets if not target.startswith(OWN)}
    return {"plugin": {name: _digest(name) for name in sorted(packages)}} if packages else {}


@cache
def _digest(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise RuntimeError(f"the package {package} isn't installed any more")
    folders = list(spec.submodule_search_locations or [])
    if folders:
        return digest_of([sha256_tree(Path(folder), "**/*.py") for folder in folders])
    return sha256_file(Path(str(spec.origin)))
