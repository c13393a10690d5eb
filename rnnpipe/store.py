"""The workspace and its content-addressed store: cache, resume and explanation in one mechanism.

A stage's output lives in `<workspace>/store/<stage>/<key>/`; `manifest.json` is written last and holds the
SHA-256 of every other file. A folder without a manifest is unfinished work: the next run goes on from it.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from rnnpipe.explanation import Plan, same_inputs, what_differs
from rnnpipe.files import digest_of, is_inside, read_json, sha256_file, sweep_temporaries, write_json
from rnnpipe.holding import hold
from rnnpipe.references import Recipe, StageRef

MANIFEST = "manifest.json"
SEAL = "seal"  # the digest of the manifest itself
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
class Inventory:
    """What a store holds: how many whole outputs, and the folders that are something else."""

    whole: int
    damaged: tuple[Path, ...]
    unfinished: tuple[Path, ...]


class Store:
    """Stage outputs below one folder, found by the digest of their inputs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[tuple[str, int]] = set()
        self._manifests_read: dict[tuple[str, int], dict[str, Any] | None] = {}

    @classmethod
    def of_workspace(cls) -> "Store":
        """Return the store of the current workspace."""
        return cls(workspace_root() / "store")

    def folder(self, recipe: Recipe) -> Path:
        """Return the folder of a stage's output, finished or not."""
        return self.root / recipe.stage / recipe.key

    def lock(self, recipe: Recipe) -> FileLock:
        """Return the OS lock that whoever works on this output holds; any death frees it."""
        path = lock_file(self.folder(recipe))
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def find(self, recipe: Recipe) -> Entry | None:
        """Return the output if it is there and every file verifies, else None; its folder's time tells the use."""
        entry = self._open(self.folder(recipe))
        if entry is not None:
            with contextlib.suppress(OSError):  # where nothing can be written, nothing is removed either
                os.utime(entry.path)
        return entry

    def resolve(self, ref: StageRef) -> Entry:
        """Return the entry a reference names; FileNotFoundError if it isn't there or doesn't verify."""
        is_name = is_inside(f"{ref.stage}/{ref.key}")
        entry = self._open(self.root / ref.stage / ref.key) if is_name else None
        if entry is None or entry.ref.digest != ref.digest:
            raise FileNotFoundError(f"{ref.stage}/{ref.key[:12]} is not in the store {self.root}")
        return entry

    def ensure(self, recipe: Recipe, build: Build, run: str) -> Entry:
        """Return the output, building it first if it isn't there: `build(folder)` writes the files.

        Of two processes with the same recipe one builds; the other says who does, waits and uses the result.
        """
        with hold(self.lock(recipe), f"{recipe.stage}/{recipe.key[:12]}"):
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
            return Plan(same_inputs(recipe.inputs, entry.run), entry.ref)
        folder = self.folder(recipe)
        if folder.joinpath(MANIFEST).exists():
            return Plan("the stored files don't match their digests")
        if _is_begun(folder):
            return Plan("it was begun and not finished")
        earlier = [m["inputs"] for m in self._manifests(recipe.stage) if m["subject"] == recipe.subject]
        return Plan(what_differs(recipe.inputs, earlier))

    def holds_any(self, stage: str) -> bool:
        """Say whether any output of a stage was finished."""
        return any(True for _ in self._manifests(stage))

    def digests(self, stage: str) -> set[str]:
        """Return the digests of a stage's outputs, as they were written."""
        return {manifest["digest"] for manifest in self._manifests(stage)}

    def take_stock(self) -> Inventory:
        """Verify every file of every output."""
        whole, damaged, unfinished = 0, list[Path](), list[Path]()
        for folder in self._folders():
            if self._open(folder) is not None:
                whole += 1
            elif folder.joinpath(MANIFEST).exists():
                damaged.append(folder)
            elif _is_begun(folder):
                unfinished.append(folder)
        return Inventory(whole, tuple(damaged), tuple(unfinished))

    def outputs(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield each output's folder and manifest, unverified; one that isn't whole is empty."""
        yield from ((folder, _read_manifest(folder) or {}) for folder in self._folders())

    def _folders(self) -> list[Path]:
        paths = self.root.glob("*/*")
        return sorted(path for path in paths if path.is_dir() and not path.name.startswith("."))

    def _manifests(self, stage: str) -> Iterator[dict[str, Any]]:
        """Yield the manifests of a stage, newest first."""
        found = []
        for path in (self.root / stage).glob(f"*/{MANIFEST}"):
            with contextlib.suppress(FileNotFoundError):
                seen = (str(path), path.stat().st_mtime_ns)
                if seen not in self._manifests_read:  # planning hundreds of trainings reads each once
                    self._manifests_read[seen] = _read_manifest(path.parent)
                found.append(self._manifests_read[seen])
        whole = [manifest for manifest in found if manifest is not None]
        yield from sorted(whole, key=lambda manifest: int(manifest["made_at_ns"]), reverse=True)

    def _open(self, folder: Path) -> Entry | None:
        manifest, place = _read_manifest(folder), f"{folder.parent.name}/{folder.name[:12]}"
        if manifest is None:
            if (folder / MANIFEST).exists():
                logger.warning("%s: the manifest is damaged; a run makes it anew", place)
            return None
        seen = (str(folder), folder.joinpath(MANIFEST).stat().st_mtime_ns)
        if seen not in self._verified:
            if damaged := _damaged(folder, manifest):
                logger.warning("%s: damaged or missing: %s; a run makes it anew", place, ", ".join(damaged))
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
        is_whole = manifest["key"] == folder.name and seal == digest_of(manifest)
        return manifest if is_whole and all(is_inside(name) for name in manifest["files"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def lock_file(folder: Path) -> Path:
    """Return the lock that whoever works on a stage's folder holds."""
    return folder.with_name(f"{folder.name}.lock")


def _is_begun(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


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
