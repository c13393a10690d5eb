"""Variants, datasets and transforms of other packages, which these register as entry points.

A package names what it has in its pyproject.toml; nothing of ours is touched. What can't be used doesn't stop what
doesn't need it: the reason is told to whoever names it.
"""

import importlib.util
import pkgutil
import re
import traceback
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rnnpipe.errors import ConfigError, RnnpipeError
from rnnpipe.files import ALL_FILES, digest_of, sha256_file, sha256_tree

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
OWN = "rnnpipe."
PASSED_ON = (RnnpipeError, OSError, MemoryError, RuntimeError)  # a full disk or memory is told where it is met


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What a name in a config stands for, with the code behind it as "module:attribute".

    `origin` says which package registers it, by which entry point; of what is rnnpipe's own it is empty.
    """

    CODE: ClassVar[str] = "build"  # the field that names the code
    TAKES: ClassVar[str] = ""  # what the code is called with
    GIVES: ClassVar[tuple[str, ...]] = ()  # attributes that what it returns has to have

    origin: str = field(default="", compare=False)

    @property
    def target(self) -> str:
        """The code, as "module:attribute"."""
        return str(getattr(self, self.CODE))

    @property
    def package(self) -> str:
        """The package that the code is in."""
        return self.target.partition(":")[0].partition(".")[0]

    @property
    def whose(self) -> str:
        """The code and where it comes from, for errors."""
        return f"{self.target} of {self.origin}" if self.origin else self.target


Spec = TypeVar("Spec", bound=Registered)


def add_plugins(entries: EntryPoints, known: dict[str, Spec], kind: type[Spec]) -> dict[str, str]:
    """Add what other packages register as a group of entry points; return by name why something can't be used.

    A name that two have belongs to neither: which one would be meant depends on what else is installed.
    """
    problems: dict[str, str] = {}
    owners = dict.fromkeys(known, "rnnpipe itself")
    for entry in sorted(entries, key=lambda each: (each.name, _owner(each))):
        if entry.name in owners:
            problems[entry.name] = (
                f"both {owners[entry.name]} and the package {_owner(entry)} have one of this name; rename it in"
                f" the entry points of one, or uninstall it"
            )
            continue
        owners[entry.name] = f"the package {_owner(entry)}"
        spec, problem = _load(entry, kind)
        if spec is None:
            problems[entry.name] = f"the package {_owner(entry)} registers it, but {problem}"
        else:
            known[entry.name] = spec
    return problems


def _load(entry: EntryPoint, kind: type[Spec]) -> tuple[Spec | None, str]:
    """Return what an entry point names, or why it can't be used."""
    if not NAME.fullmatch(entry.name):
        return None, "a name is lower-case letters, digits and dashes"
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # whatever the import of a stranger's module raises
        return None, f"{entry.value} can't be imported: {type(error).__name__}: {error}"
    if not isinstance(found, kind):
        return None, f"{entry.value} is a {type(found).__name__}, not a {kind.__name__}"
    if not _is_installed(found.package):
        return None, f"{entry.value} names the code {found.target}, and no package {found.package!r} is installed"
    return replace(found, origin=f"the package {_owner(entry)} (entry point {entry.name} in {entry.group})"), ""


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # no name of a package
        return False


def load_code(spec: Registered, named: str) -> Any:
    """Import and return the code that a spec names; `named` is the config's field and value, for errors.

    ConfigError where a plug-in's can't be imported.
    """
    try:
        return pkgutil.resolve_name(spec.target)
    except Exception as error:
        if not spec.origin or isinstance(error, RnnpipeError):
            raise
        reason = f"can't be imported: {type(error).__name__}: {error}"
        fix = "correct the module:attribute that its spec names, or install what that imports"
        raise ConfigError(f"{named}: {spec.whose} {reason}", fix) from error


def call_code(spec: Registered, named: str, *arguments: object) -> Any:
    """Call the code that a spec names, and return what it makes; `named` as with `load_code`.

    ConfigError where a plug-in's can't be imported, isn't called like this, or makes something else.
    """
    code = load_code(spec, named)
    if not spec.origin:
        return code(*arguments)
    fix = f"let it take ({spec.TAKES}) and return what CONTRIBUTING.md of rnnpipe says, or uninstall the package"
    try:
        made = code(*arguments)
    except PASSED_ON:
        raise
    except Exception as error:
        reason = f"can't be called with ({spec.TAKES}): {type(error).__name__}: {error}{_place_of(error)}"
        raise ConfigError(f"{named}: {spec.whose} {reason}", fix) from error
    if missing := [name for name in spec.GIVES if not hasattr(made, name)]:
        reason = f"gives a {type(made).__name__} without {' and '.join(missing)}"
        raise ConfigError(f"{named}: {spec.whose} {reason}", fix)
    return made


def _place_of(error: Exception) -> str:
    """Return where in a plug-in's code something was raised, if it came as far as into that."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is the call
    return f" ({Path(frames[0].filename).name}, line {frames[0].lineno})" if frames else ""


def code_of(*specs: Registered) -> dict[str, dict[str, str]]:
    """Return {"plugin": {package: SHA-256}} of the packages that specs name; nothing for our own code.

    It is part of what a stage's output depends on, and so are the data that a package brings: all its files count.
    ConfigError where a package isn't there.
    """
    packages = {spec.package: spec for spec in specs if not spec.target.startswith(OWN)}
    for package, spec in packages.items():
        if not _is_installed(package):
            fix = f"install {package} again, or set the config to what is installed"
            raise ConfigError(f"{spec.whose}: {package} isn't installed any more", fix)
    return {"plugin": {package: _digest(package) for package in sorted(packages)}} if packages else {}


@cache
def _digest(package: str) -> str:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    folders = list(spec.submodule_search_locations or [])
    if folders:
        return digest_of([sha256_tree(Path(folder), ALL_FILES) for folder in folders])
    return sha256_file(Path(str(spec.origin)))
