"""Which code and which packages made something: what its record needs to make it again."""

import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from rnnpipe import __version__
from rnnpipe.files import sha256_tree

PACKAGE = Path(__file__).parent


@cache
def code_revision() -> str:
    """Return rnnpipe's version, its git commit where it runs from a checkout, and its sources' SHA-256."""
    commit = ""
    if (PACKAGE.parent / ".git").exists():
        command = ["git", "-C", str(PACKAGE.parent), "rev-parse", "--short=12", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = f" commit {done.stdout.strip()}" if done.returncode == 0 else ""
    return f"{__version__}{commit} sources {sha256_tree(PACKAGE)[:12]}"


@cache
def installed_packages() -> tuple[str, ...]:
    """Return every installed package as name==version, sorted."""
    return tuple(sorted({f"{each.name}=={each.version}" for each in distributions()}, key=str.lower))
