"""What lies in a workspace that no version needs any more, nor a run of the last days."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rnnpipe.files import SCRATCH, Usage, left_temporaries, remove_folder, sweep_temporaries, usage_of
from rnnpipe.processes.lifetime import is_held
from rnnpipe.reporting.facts import RUNS
from rnnpipe.store import Store, lock_file
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.history import DATASET_TAG
from rnnpipe.tracking.prunable import NEEDED, Item, Rules
from rnnpipe.tracking.record import OUTCOME_FILE, REPRODUCTIONS
from rnnpipe.tracking.registry import FINGERPRINT_TAG, Version

IN_WORK = "somebody works on it"
UPSTREAM = ("sequences", "dataset")  # inputs of a stage that are digests of other outputs


def prunable_files(
    workspace: Path, versions: Sequence[Version], named: Sequence[Version], rules: Rules
) -> Iterator[Item]:
    """Yield what lies in a workspace: outputs in the store, fetched models, reproductions, runs, temporary files.

    `versions` are all that stay, `named` those of them that have an alias.
    """
    ours = [version for version in versions if FINGERPRINT_TAG in version.tags]
    yield from _outputs(Store(workspace / "store"), ours, rules)
    yield from _fetched_models(workspace / "models", named, rules)
    yield from _reproductions(workspace / REPRODUCTIONS, rules)
    yield from _runs(workspace / RUNS, rules)
    yield from _temporaries(workspace)


def _outputs(store: Store, versions: Sequence[Version], rules: Rules) -> Iterator[Item]:
    outputs = list(store.outputs())
    needed = _needed_digests([manifest for _, manifest in outputs], versions)
    vague = [version.uri for version in versions if not version.tags.get(DATASET_TAG)]
    for folder, manifest in outputs:
        usage = usage_of(folder)
        item = Item("output", f"{folder.parent.name}/{folder.name[:12]}", usage.size_bytes)
        if _is_in_work(lock_file(folder)):
            yield item.stays(IN_WORK)
        elif _is_needed(manifest, needed):
            yield item.stays(NEEDED)
        elif rules.is_recent(usage.written_s):
            yield item.stays(f"used in the last {rules.days} days")
        elif not versions:
            yield item.stays("this MLflow has no version that would say what is needed")
        elif vague and manifest.get("stage") == "dataset":
            yield item.stays(f"{vague[0]} doesn't say which images it is from")
        else:
            what = "no version" if manifest else "unfinished: no version"
            yield item.goes(f"{what} and no recent run needs it", _remover(folder, usage, lock_file(folder)))


def _needed_digests(manifests: Sequence[Mapping[str, Any]], versions: Sequence[Version]) -> set[str]:
    """Return the digests of the trainings of versions and of what these were made from."""
    needed = set[str]()
    waiting = [version.tags.get(name) for version in versions for name in (FINGERPRINT_TAG, DATASET_TAG)]
    while waiting:
        digest = waiting.pop()
        if digest and digest not in needed:
            needed.add(digest)
            made = [each["inputs"] for each in manifests if each and each["digest"] == digest]
            waiting += [inputs.get(name) for inputs in made for name in UPSTREAM]
    return needed


def _is_needed(manifest: Mapping[str, Any], needed: Set[str]) -> bool:
    """Say whether an output is what a version was made from, or its evaluation on its own test images."""
    if not manifest:
        return False
    inputs = manifest["inputs"]
    is_its_evaluation = inputs.get("model") in needed and inputs.get("sequences") in needed
    return is_its_evaluation or manifest["digest"] in needed


def _fetched_models(folder: Path, named: Sequence[Version], rules: Rules) -> Iterator[Item]:
    needed = {version.tags.get(MODEL_DIGEST_TAG) for version in named}
    for path in _folders(folder):
        usage = usage_of(path)
        item = Item("fetched model", path.name[:12], usage.size_bytes)
        if path.name in needed:
            yield item.stays(NEEDED)
        elif rules.is_recent(usage.written_s):
            yield item.stays(f"fetched in the last {rules.days} days")
        else:
            yield item.goes(
                "no alias names its version; it is fetched again when asked for", _remover(path, usage)
            )


def _reproductions(folder: Path, rules: Rules) -> Iterator[Item]:
    for path in _folders(folder):
        usage, lock = usage_of(path), lock_file(path)
        item = Item("reproduction", path.name[:12], usage.size_bytes)
        if _is_in_work(lock):
            yield item.stays(IN_WORK)
        elif (path / OUTCOME_FILE).exists():
            yield item.goes("finished: its result stands on the version", _remover(path, usage, lock))
        elif rules.is_recent(usage.written_s):
            yield item.stays(f"unfinished, and worked on in the last {rules.days} days")
        else:
            yield item.goes("unfinished and old", _remover(path, usage, lock))


def _runs(folder: Path, rules: Rules) -> Iterator[Item]:
    for path in _folders(folder):
        usage = usage_of(path)
        item = Item("kept run", path.name, usage.size_bytes)
        if rules.is_recent(usage.written_s):
            yield item.stays(f"of the last {rules.days} days")
        else:
            yield item.goes(f"older than {rules.days} days; MLflow has its page", _remover(path, usage))


def _temporaries(workspace: Path) -> Iterator[Item]:
    system = Path(tempfile.gettempdir())
    if left := [*left_temporaries(workspace), *left_temporaries(system, SCRATCH)]:

        def sweep() -> bool:
            sweep_temporaries(workspace)
            sweep_temporaries(system, SCRATCH)
            return True

        size_bytes = sum(usage_of(path).size_bytes for path in left)
        yield Item("temporary", f"{len(left)} files", size_bytes).goes("dead processes left them", sweep)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.startswith("."))


def _is_in_work(lock: Path) -> bool:
    return lock.exists() and is_held(lock)


def _remover(folder: Path, usage: Usage, lock: Path | None = None) -> Callable[[], bool]:
    """Return what removes a folder, unless it has been written or used since, or somebody holds its lock."""

    def remove() -> bool:
        if not folder.exists():
            return True
        if usage_of(folder) != usage:
            return False
        try:
            with FileLock(lock, blocking=False, is_singleton=False) if lock else contextlib.nullcontext():
                remove_folder(folder)
        except Timeout:
            return False
        return True

    return remove
