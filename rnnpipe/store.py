"""The workspace and its content-addressed store: cache, resume and explanation in one mechanism.

A stage's output lives in `<workspace>/store/<stage>/<key>/`; `manifest.json` is written last and holds the
SHA-256 of every other file. A folder without a manifest is unfinished work: the next run goes on from it.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from rnnpipe.files import digest_of, read_json, sha256_file, sweep_temporaries, write_json
from rnnpipe.references import Recipe, StageRef

MANIFEST = "manifest.json"
SEAL = "seal"  # the digest of the manifest itself
MAX_DIFFERENCES = 4
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
                _clear_damage(folder)
                sweep_temporaries(folder)
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
        earlier = [m["inputs"] for m in self._manifests(recipe) if m["subject"] == recipe.subject]
        if not earlier:
            return Plan(False, "ran: nothing like it is stored yet")
        differences = _differences(
            min(earlier, key=lambda inputs: _distance(inputs, recipe.inputs)), recipe.inputs
        )
        shown = ", ".join(differences[:MAX_DIFFERENCES])
        more = len(differences) - MAX_DIFFERENCES
        return Plan(False, f"ran: {shown} and {more} more" if more > 0 else f"ran: {shown}")

    def _manifests(self, recipe: Recipe) -> Iterator[dict[str, Any]]:
        """Yield the manifests of this stage, newest first."""
        manifests = [_read_manifest(path.parent) for path in (self.root / recipe.stage).glob(f"*/{MANIFEST}")]
        whole = [manifest for manifest in manifests if manifest is not None]
        yield from sorted(whole, key=lambda manifest: int(manifest["made_at_ns"]), reverse=True)

    def _open(self, folder: Path) -> Entry | None:
        manifest = _read_manifest(folder)
        if manifest is None:
            if (folder / MANIFEST).exists():
                logger.warning("%s/%s: the manifest is damaged; made anew", folder.parent.name, folder.name[:12])
            return None
        seen = (str(folder), folder.joinpath(MANIFEST).stat().st_mtime_ns)
        if seen not in self._verified:
            if damaged := _damaged(folder, manifest):
                place, names = f"{folder.parent.name}/{folder.name[:12]}", ", ".join(damaged)
                logger.warning("%s: damaged or missing: %s; made anew", place, names)
                return None
            self._verified.add(seen)
        ref = StageRef(**{name: manifest[name] for name in ("stage", "key", "digest", "facts")})
        return Entry(ref, folder, manifest["run"])

    def _seal(self, recipe: Recipe, folder: Path, facts: Mapping[str, Any], run: str) -> None:
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        files = {name: sha256_file(folder / name) for name in names}
        content = {name: digest for name, digest in files.items() if not name.startswith(f"{LOG_FOLDER}/")}
        manifest = {
            **recipe.model_dump(), "key": recipe.key, "files": files, "digest": digest_of(content),
            "facts": dict(facts), "run": run, "made_at_ns": time.time_ns(),
        }  # fmt: skip
        write_json(folder / MANIFEST, {**manifest, SEAL: digest_of(manifest)})


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a folder's manifest, or None where there is none that is whole and names this folder."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        seal = manifest.pop(SEAL)
        return manifest if manifest["key"] == folder.name and seal == digest_of(manifest) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _damaged(folder: Path, manifest: dict[str, Any]) -> list[str]:
    return [name for name, digest in manifest["files"].items() if not _matches(folder / name, digest)]


def _clear_damage(folder: Path) -> None:
    """Leave of a damaged output what work can go on from; of unfinished work, all.

    The files below log/ lean on each other: if one of them is damaged, none is trusted.
    """
    if not (folder / MANIFEST).exists():
        return
    manifest = _read_manifest(folder)
    damaged = _damaged(folder, manifest) if manifest else []
    if manifest is None or any(name.startswith(f"{LOG_FOLDER}/") for name in damaged):
        shutil.rmtree(folder)
        folder.mkdir()
    for name in [*damaged, MANIFEST]:
        (folder / name).unlink(missing_ok=True)


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


def _distance(old: dict[str, Any], new: dict[str, Any]) -> tuple[int, int]:
    """Return how unlike two outputs are: other variants and seeds first, then the number of differences."""
    before, after = _flatten(old), _flatten(new)
    kin = sum(before.get(name) != after.get(name) for name in ("variant.name", "seed"))
    return kin, len(_differences(old, new))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return "field old → new" for each input that differs; of digests, the first eight characters."""
    before, after = _flatten(old), _flatten(new)
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            lines.append(f"{name} {_show(after[name])} is new")
        elif name not in after:
            lines.append(f"{name} {_show(before[name])} is gone")
        elif before[name] != after[name]:
            verb = " changed" if _is_digest(before[name]) and _is_digest(after[name]) else ""
            lines.append(f"{name}{verb} {_show(before[name])} → {_show(after[name])}")
    return lines


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value[:8] if _is_digest(value) else value
    return json.dumps(value, ensure_ascii=False)
