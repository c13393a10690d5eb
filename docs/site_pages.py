"""What mkdocs is given besides this folder: the documents above it, a page of docstrings a package."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def packages() -> dict[str, list[str]]:
    """Return the modules of each package that has a page, by its name; the command line has --help."""
    found: dict[str, list[str]] = {}
    for path in sorted([*ROOT.glob("rnnpipe/**/*.py"), *ROOT.glob("flows/**/*.py")]):
        *parents, name = path.relative_to(ROOT).with_suffix("").parts
        if parents[1:2] != ["cli"] and name not in ("__main__", "__init__"):
            found.setdefault(".".join(parents), []).append(".".join([*parents, name]))
    return found


def on_config(config: Any) -> Any:
    """Put the pages of the packages into the list of pages."""
    for entry in config.nav:
        if isinstance(entry, dict) and "API" in entry:
            entry["API"] = [{name: f"api/{name}.md"} for name in packages()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add what isn't a file in this folder."""
    for source, page in DOCUMENTS.items():
        text = _linked((ROOT / source).read_text(encoding="utf-8"), "", page)
        files.append(File.generated(config, page, content=text))
    for package, modules in packages().items():
        text = "\n\n".join([f"# {package}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, f"api/{package}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of this folder's documents lead to pages."""
    is_ours = page.file.src_uri not in DOCUMENTS.values() and not page.file.src_uri.startswith("api/")
    return _linked(markdown, "docs", page.file.src_uri) if is_ours else markdown


def _linked(text: str, folder: str, page: str) -> str:
    """Return a document of `folder` with links that fit `page`; of those without a page, the words stay."""
    return LINK.sub(_replacing(folder, page), text)


def _replacing(folder: str, page: str) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        mark, words, target, anchor = match.groups()
        if "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        place, own_anchor = _page_of(path)
        if place is None:
            return words
        return f"{mark}[{words}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{anchor or own_anchor})"

    return replace


def _page_of(path: str) -> tuple[str | None, str]:
    """Return the page of a file of the repository, and where on it; None where it has none."""
    if path in DOCUMENTS:
        return DOCUMENTS[path], ""
    if path.startswith("docs/") and path.endswith((".md", ".png")):
        return path.removeprefix("docs/"), ""
    module = path.removesuffix(".py").replace("/", ".")
    package = module.rpartition(".")[0]
    return (f"api/{package}.md", f"#{module}") if module in packages().get(package, ()) else (None, "")
