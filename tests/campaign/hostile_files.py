"""Files that mean harm, under every name that is read: none runs code, none costs over 5 s or 512 MiB."""

import gzip
import hashlib
import io
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile_reading import RECIPE
from PIL import Image
from reporting import Finding, Tally
from torch import nn

from rnnpipe.catalogue import DATASETS
from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.deploy import build_network, save_model
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.files import digest_of, write_json
from rnnpipe.store import SEAL, Store
from rnnpipe.training.checkpoint import CHECKPOINT_FOLDER, Progress, save_checkpoint

SECONDS, MEBIBYTES = 5.0, 512.0  # a slow core needs two for the largest PNG that is read
READING = Path(__file__).with_name("hostile_reading.py")
OWN_STATE = {"journal", "report", "training job", "evaluation job", "service"}  # any error ends their process
FACTS = {
    "dataset": {"name": "x", "digest": "d" * 64}, "classes": ["a", "b"], "image_size": [8, 8],
    "sequence": {"name": "rows"}, "steps": 8, "features": 8, "mean": 0.2, "deviation": 0.5,
}  # fmt: skip

Make = Callable[[Path, Path], None]


@dataclass(frozen=True)
class Case:
    """A hostile file: who reads it, and how it is made: make(folder, canary)."""

    name: str
    reader: str
    make: Make


class Touch:
    """What touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def raw_pickle(canary: Path) -> bytes:
    return pickle.dumps(Touch(canary), protocol=2)


def torch_pickle(canary: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Touch(canary), buffer)
    return buffer.getvalue()


def object_array(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Touch(canary)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def object_arrays(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, np.array([Touch(canary)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


PICKLES: dict[str, Callable[[Path], bytes]] = {
    "pickle": raw_pickle, "torch.save": torch_pickle, "object array": object_array, "object arrays": object_arrays,
}  # fmt: skip
READ_NAMES = {
    "config": ["config.yaml"],
    "model": ["weights.safetensors", "model.json"],
    "split": ["train_x.npy", "train_y.npy"],
    "checkpoint": ["json", "safetensors"],
    "store": ["manifest.json", "weights.safetensors", "model.json", "train_x.npy", "train_y.npy"],
    "journal": ["log/journal.jsonl"],
    "report": ["report.json"],
    "training job": ["log/job.json"],
    "evaluation job": ["log/job.json"],
    "service": ["service.json"],
    "image": ["image.png"],
    "folder": ["images/a/0.png"],
    "downloads": ["train-images-idx3-ubyte", "train-images-idx3-ubyte.json"],
    "gzip": ["archive"],
    "zip": ["archive"],
}


def good_files(reader: str, folder: Path) -> None:
    """Write what a reader reads, all well."""
    if reader in ("model", "store"):
        save_good_model(folder)
    if reader in ("split", "store"):
        np.save(folder / "train_x.npy", np.zeros((4, 8, 8), dtype=np.uint8))
        np.save(folder / "train_y.npy", np.zeros(4, dtype=np.int64))
    if reader == "checkpoint":
        network = nn.Linear(2, 2)
        save_checkpoint(folder, Progress(epoch=1, step=3), network, torch.optim.Adam(network.parameters()), {})
    if reader == "folder":
        for name in ("a", "b"):
            folder.joinpath("images", name).mkdir(parents=True)
            Image.new("L", (8, 8)).save(folder / "images" / name / "0.png")


def save_good_model(folder: Path) -> None:
    spec = ModelSpec.of(FACTS, VariantConfig(name="gru", hidden_size=8))
    save_model(folder, spec, build_network(spec, seed=1))


def put(reader: str, folder: Path, name: str, content: bytes) -> None:
    """Put content under a name that a reader reads, with every digest that stands for it as it should be."""
    if reader == "store":
        folder = Store(folder).folder(RECIPE)
        folder.mkdir(parents=True)
    good_files(reader, folder)
    if reader == "checkpoint":
        (path,) = (folder / CHECKPOINT_FOLDER).glob(f"*.{name}")
        path.write_bytes(content)
        if name == "safetensors":
            record = json.loads(path.with_suffix(".json").read_text())
            del record["record_sha256"]
            record["tensors_sha256"] = hashlib.sha256(content).hexdigest()
            write_json(path.with_suffix(".json"), {**record, "record_sha256": digest_of(record)})
        return
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if reader == "store" and name != "manifest.json":
        seal(folder)


def seal(folder: Path, **changes: Any) -> None:
    """Write the manifest that fits what is in a folder of the store."""
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    manifest = {
        **RECIPE.model_dump(), "key": RECIPE.key, "files": files, "digest": digest_of(files),
        "facts": {}, "run": "r", "made_at_ns": 1, **changes,
    }  # fmt: skip
    write_json(folder / "manifest.json", {**manifest, SEAL: digest_of(manifest)})


def pickle_cases() -> Iterator[Case]:
    for reader, names in READ_NAMES.items():
        for name, (kind, dump) in product(names, PICKLES.items()):
            if kind in ("pickle", "torch.save") or name.endswith(".npy"):
                yield Case(f"{kind} as {name} ({reader})", reader, pickled(reader, name, dump))
    yield Case("pickle in a gzip archive", "gzip", lambda folder, canary: put(
        "gzip", folder, "archive", gzip.compress(raw_pickle(canary))))  # fmt: skip
    yield Case("pickle as a verified IDX file", "downloads", recorded(raw_pickle))


def pickled(reader: str, name: str, dump: Callable[[Path], bytes]) -> Make:
    return lambda folder, canary: put(reader, folder, name, dump(canary))


def recorded(dump: Callable[[Path], bytes]) -> Make:
    """Make all four files hostile, each with a record that says it is what the authors published."""

    def make(folder: Path, canary: Path) -> None:
        for file in DATASETS["kmnist"].files:
            path = folder / file.name.removesuffix(".gz")
            path.write_bytes(dump(canary))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            write_json(
                path.with_name(f"{path.name}.json"), {"archive_sha256": file.archive_sha256, "sha256": digest}
            )

    return make


def run(cases: list[Case] | None = None) -> list[Finding]:
    """Let a process of its own read each hostile file, and say what broke."""
    from bombs import bomb_cases
    from planted_files import planted_cases

    cases = cases or [*pickle_cases(), *bomb_cases(), *planted_cases()]
    promises = ("runs no code", f"costs at most {SECONDS:g} s and {MEBIBYTES:g} MiB", "ends in words")
    tallies = [Tally(f"hostile files: {promise}", promise) for promise in promises]
    command = [sys.executable, str(READING)]
    with tempfile.TemporaryDirectory() as root:
        jobs = [prepared(case, Path(root) / str(number)) for number, case in enumerate(cases)]
        lines = "".join(f"{json.dumps(job)}\n" for job in jobs)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=root)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(cases), done.stderr
        for case, job, answer in zip(cases, jobs, answers, strict=True):
            for tally, broken in zip(tallies, broken_by(case, job, answer), strict=True):
                tally.add(*([f"{case.name}: {broken}"] if broken else []))
    return [tally.finding() for tally in tallies]


def prepared(case: Case, folder: Path) -> dict[str, str]:
    """Write a case's file and return the job of reading it."""
    inside = folder / "inside"
    inside.mkdir(parents=True)
    case.make(inside, folder / "canary")
    return {"name": case.name, "reader": case.reader, "folder": str(inside)}


def broken_by(case: Case, job: dict[str, str], answer: dict[str, Any]) -> tuple[str, str, str]:
    """Return what a case broke of each of the promises, or nothing."""
    ran = "it ran" if Path(job["folder"]).with_name("canary").exists() else ""
    cost = f"{answer['seconds']:.1f} s, {answer['mebibytes']:.0f} MiB"
    dear = answer["seconds"] > SECONDS or answer["mebibytes"] > MEBIBYTES
    outcome = str(answer["outcome"])
    wordless = case.reader not in OWN_STATE and not outcome.startswith(("read", "refused"))
    return ran, cost if dear else "", outcome if wordless else ""
