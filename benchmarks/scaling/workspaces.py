"""Workspaces with many kept runs and their outputs, and what reads them."""

import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.scaling.template import CONFIG, Template
from benchmarks.scaling.timing import Action
from benchmarks.scaling.tracked import run_key
from rnnpipe.files import digest_of, read_json, sha256_file
from rnnpipe.references import Recipe
from rnnpipe.reporting.facts import FACTS_FILE, TIME_FORMAT, kept_facts, run_folder
from rnnpipe.reporting.kept import find_kept
from rnnpipe.store import MANIFEST, SEAL, Store
from rnnpipe.tracking.leftovers import prunable_files
from rnnpipe.tracking.prunable import Rules

FILE_BYTES = 2**28
OLD_S = 10.0 * 86_400
START_S, APART_S = 1_760_000_000, 600
NEWEST = 20


def make_workspace(folder: Path, template: Template, numbers: range) -> None:
    """Add kept runs, each with a training and an evaluation of its own in the store; files are hard links."""
    facts = template.facts.model_dump(mode="json")
    outputs = [_output(template, stage) for stage in ("trainings", "evaluations")]
    for number in numbers:
        run = f"{number:08x}"
        keys = [_copy_output(folder, original, number) for original in outputs]
        (first, *others) = facts["trained"]
        own = {**first, "training": {**first["training"], "key": keys[0]}}
        path = run_folder(folder, run) / FACTS_FILE
        path.parent.mkdir(parents=True)
        # in place, without fsync: ten thousand of those would take minutes
        at = time.strftime(TIME_FORMAT, time.gmtime(_at_s(number)))
        text = json.dumps({**facts, "run": run, "at": at, "trained": [own, *others]})
        path.write_text(text, encoding="utf-8")
        os.utime(path, (_at_s(number), _at_s(number)))


def store_actions(folder: Path, size: int) -> dict[str, Action]:
    """Return what reads a workspace, by what it is called on the page."""
    store = Store(folder / "store")
    (*_, manifest) = (each for _, each in store.outputs() if each["stage"] == "trainings")
    recipe = Recipe(
        stage="trainings", inputs={**manifest["inputs"], "seed": "another"}, subject=manifest["subject"]
    )
    newest = f"{size - 1:08x}"
    newest_ms = 1000 * _at_s(size - NEWEST)
    rules = Rules(keep=3, versions=False, days=7, now_s=OLD_S)
    return {
        "`rnnpipe runs --tag NAME`: what is kept of every run": lambda: kept_facts(folder),
        f"`rnnpipe runs`: of the {NEWEST} newest": lambda: kept_facts(folder, newest_ms),
        "`rnnpipe report RUN`: one run": lambda: find_kept(folder, newest),
        "`rnnpipe report CONFIG`: its last run": lambda: find_kept(folder, str(CONFIG)),
        "`rnnpipe prune`: everything": lambda: list(prunable_files(folder, [], [], rules)),
        # each process reads anew; within one, the manifests of a stage are read once
        "a new training: why does it run?": lambda: Store(store.root).plan(recipe),
    }


def hashing(folder: Path) -> dict[str, Action]:
    """Return what verifies a file of 256 MiB, which lies in the memory of the system."""
    path = folder / "file"
    path.write_bytes(os.urandom(2**20) * (FILE_BYTES // 2**20))
    return {"verify 256 MiB": lambda: sha256_file(path)}


def _output(template: Template, stage: str) -> tuple[Path, dict[str, Any]]:
    folder = next((template.home / "store" / stage).glob(f"*/{MANIFEST}")).parent
    return folder, read_json(folder / MANIFEST)


def _copy_output(workspace: Path, original: tuple[Path, dict[str, Any]], number: int) -> str:
    """Give a workspace an output under a key of its own, sealed as the store seals it; return the key."""
    source, manifest = original
    key = run_key(number)
    folder = workspace / "store" / manifest["stage"] / key
    folder.mkdir(parents=True)
    for name in manifest["files"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).hardlink_to(source / name)
    own = {name: value for name, value in manifest.items() if name != SEAL} | {
        "key": key,
        "inputs": {**manifest["inputs"], "seed": number},
        "made_at_ns": manifest["made_at_ns"] + number,
    }
    (folder / MANIFEST).write_text(json.dumps({**own, SEAL: digest_of(own)}), encoding="utf-8")
    return key


def _at_s(number: int) -> int:
    """Return when a run was kept."""
    return START_S + number * APART_S
