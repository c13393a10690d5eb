"""The workspace and its content-addressed store: cache, resume and explanation in one mechanism.

A stage's output lives in `<workspace>/store/<stage>/<key>/`; `manifest.json` is written last and holds the
SHA-256 of every other file. A folder without a manifest is unfinished work: the next run goes on from it.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from rnnpipe.files import digest_of, read_json, sha256_file, write_json
from rnnpipe.references import Recipe, StageRef

MANIFEST = "manifest.json"
LOG_FOLDER = "log"  # files below it tell how the work went: verified, but no part of the content's digest

logger = logging.getLogger(__name__)

Build = Callable[[Path], Mapping[str, Any]]


def workspace_root() -> Path:
    """Return the workspace: RNNPIPE_HOME, else .rnnpipe in the current folder."""
    return Path(os.environ.get("RNNPIPE_HOME") or ".rnnpipe").expanduser().resolve()


@dataclass(frozen=True)
class Entry:
    """A finished, verified stage output."""

    ref: StageRef
    path: Path
    run: str


@dataclass(frozen=True)
class Plan:
    """Whether a stage has to run, and the sentence that says why."""

    present: bool
    sentence: str


class Store:
    """Stage outputs below one folder, found by the digest of their inputs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[tuple[str, int]] = set()

    @classmethod
    def of_workspace(cls) -> "Store":
        """Return the store of the current workspace."""
        return cls(workspace_root() / "store")

    def folder(self, recipe: Recipe) -> Path:
        """Return the folder of a stage's output, finished or not."""
        return self.root / recipe.stage / recipe.key

    def lock(self, recipe: Recipe) -> FileLock:
        """Return the OS lock that whoever works on this output holds; any death frees it."""
        path = self.root / recipe.stage / f"{recipe.key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def find(self, recipe: Recipe) -> Entry | None:
        """Return the output if it is there and every file verifies, else None."""
        return self._open(self.folder(recipe))

    def resolve(self, ref: StageRef) -> Entry:
        """Return the entry a reference names; FileNotFoundError if it isn't there or doesn't verify."""
        entry = self._open(self.root / ref.stage / ref.key)
        if entry is None or entry.ref.digest != ref.digest:
            raise FileNotFoundError(f"{ref.stage}/{ref.key[:12]} is not in the store {self.root}")
        return entry

    def ensure(self, recipe: Recipe, build: Build, run: str) -> Entry:
        """Return the output, building it first if it isn't there: `build(folder)` writes the files.

        Of two processes with the same recipe one builds and the other waits and uses the result.
        """
        with self.lock(recipe):
            entry = self.find(recipe)
            if entry is None:
                folder = self.folder(recipe)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / MANIFEST).unlink(missing_ok=True)
                self._seal(recipe, folder, build(folder), run)
                entry = self.find(recipe)
        if entry is None:
            raise FileNotFoundError(f"{recipe.stage}/{recipe.key[:12]} changed while it was written")
        return entry

    def plan(self, recipe: Recipe) -> Plan:
        """Say whether a stage would run, and why: what differs from the most similar earlier output."""
        entry = self.find(recipe)
        if entry is not None:
            return Plan(True, f"skipped: same {len(recipe.inputs)} inputs as run {entry.run}")
        if self.folder(recipe).joinpath(MANIFEST).exists():
            return Plan(False, "ran: the stored files don't match their digests")
        differences = [
            _differences(manifest["inputs"], recipe.inputs) for manifest in self._manifests(recipe)
        ]
        if not differences:
            return Plan(False, "ran: nothing like it is stored yet")
        return Plan(False, f"ran: {', '.join(min(differences, key=len)[:4])}")

    def _manifests(self, recipe: Recipe) -> Iterator[dict[str, Any]]:
        """Yield the manifests of this stage, newest first."""
        paths = (self.root / recipe.stage).glob(f"*/{MANIFEST}")
        for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            if (manifest := _read_manifest(path.parent)) is not None:
                yield manifest

    def _open(self, folder: Path) -> Entry | None:
        manifest = _read_manifest(folder)
        if manifest is None:
            return None
        seen = (str(folder), folder.joinpath(MANIFEST).stat().st_mtime_ns)
        if seen not in self._verified:
            damaged = [
                name for name, digest in manifest["files"].items() if not _matches(folder / name, digest)
            ]
            if damaged:
                logger.warning("%s: %s differ from the manifest; made anew", folder.name, ", ".join(damaged))
                return None
            self._verified.add(seen)
        ref = StageRef(**{name: manifest[name] for name in ("stage", "key", "digest", "facts")})
        return Entry(ref, folder, manifest["run"])

    def _seal(self, recipe: Recipe, folder: Path, facts: Mapping[str, Any], run: str) -> None:
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        files = {name: sha256_file(folder / name) for name in names}
        content = {name: digest for name, digest in files.items() if not name.startswith(f"{LOG_FOLDER}/")}
        manifest = {
            "stage": recipe.stage, "key": recipe.key, "inputs": recipe.inputs, "files": files,
            "digest": digest_of(content), "facts": dict(facts), "run": run, "made_at": int(time.time()),
        }  # fmt: skip
        write_json(folder / MANIFEST, manifest)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a folder's manifest, or None where there is none that can be read and names this folder."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        return manifest if manifest["key"] == folder.name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _matches(path: Path, digest: str) -> bool:
    try:
        return sha256_file(path) == digest
    except OSError:
        return False


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, child in value.items():
        flat |= _flatten(child, f"{prefix}.{name}" if prefix else name)
    return flat


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return "field old → new" for each input that differs; digests are shortened to eight characters."""
    before, after = _flatten(old), _flatten(new)
    names = sorted(before.keys() | after.keys())
    changed = [name for name in names if before.get(name) != after.get(name)]
    return [f"{name} {_short(before.get(name))} → {_short(after.get(name))}" for name in changed]


def _short(value: Any) -> str:
    text = str(value)
    is_digest = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
    return text[:8] if is_digest else text
