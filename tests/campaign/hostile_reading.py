"""Reads hostile files, each in a fork of its own that is measured: lines of JSON in, lines of JSON out.

{"name": …, "reader": …, "folder": …}  ->  {"name": …, "outcome": …, "seconds": …, "mebibytes": …}
"""

import contextlib
import json
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from torch import nn

from flows.cached import SERIALIZER, cache_key, holds_only
from flows.delivery import deliver_waiting
from flows.session import Session
from flows.spool import spooled
from rnnpipe.catalogue import DATASETS
from rnnpipe.config import load_config
from rnnpipe.config.data import DataConfig
from rnnpipe.data.archives import extract_member, gunzip_idx
from rnnpipe.data.decoding import decode_image
from rnnpipe.data.download import SourceError
from rnnpipe.data.folder import load_folder
from rnnpipe.data.growing import write_lazily
from rnnpipe.data.idx import _read
from rnnpipe.data.mirrors import fetch_files
from rnnpipe.data.stages import open_split
from rnnpipe.errors import RnnpipeError
from rnnpipe.evaluation import job as evaluation_job
from rnnpipe.evaluation.deploy import load_model
from rnnpipe.evaluation.report import EvaluationReport
from rnnpipe.files import sha256_file
from rnnpipe.processes.service import keeper_of
from rnnpipe.references import Recipe, StageRef
from rnnpipe.sameness import _predictions
from rnnpipe.store import Store
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.digests import RECORD_DIGEST_TAG
from rnnpipe.tracking.record import RECORD_FILE, fetch_record
from rnnpipe.tracking.registry import Version
from rnnpipe.training import job as training_job
from rnnpipe.training.checkpoint import load_checkpoint
from rnnpipe.training.journal import read_journal

PATIENCE_S = 20.0
RECIPE = Recipe(stage="trainings", inputs={"seed": 1})
STORED = StageRef(stage=RECIPE.stage, key=RECIPE.key, digest="d" * 64, facts={"seed": 1})
VERSION_FILES = "registered/extra_files"


def read_store(folder: Path) -> object:
    """Find an output, say why it would be made, and make it anew where it isn't whole."""
    store = Store(folder)
    store.plan(Recipe(stage="trainings", inputs={"seed": 2}))
    entry = store.ensure(RECIPE, lambda made: {}, "run")
    with contextlib.suppress(RnnpipeError):
        load_model(entry.path)
    return open_split(entry.path, "train")


def read_downloads(folder: Path) -> object:
    spec = DATASETS["kmnist"]
    return _read(spec, fetch_files(spec, [], folder))


def read_checkpoint(folder: Path) -> object:
    network = nn.Linear(2, 2)
    return load_checkpoint(folder, network, torch.optim.Adam(network.parameters()))


def let_prefect_read(folder: Path) -> object:
    """Read a stage's record as Prefect's engine does."""
    results = ResultStore(result_storage=LocalFileSystem(basepath=str(folder)), serializer=SERIALIZER)
    return results.exists(cache_key(RECIPE)) and results.read(cache_key(RECIPE))


def read_results(folder: Path) -> object:
    """Do what a skipped stage does: Prefect reads its record, if that is the one of what the store holds."""
    if holds_only(folder, cache_key(RECIPE), STORED):
        return let_prefect_read(folder)
    assert not os.path.lexists(folder / cache_key(RECIPE)), "it is left for Prefect to read"
    return None


def read_spool(folder: Path) -> object:
    """Deliver what waits; nothing of it is to come as far as MLflow."""
    return deliver_waiting(cast(Session, None), spooled(folder))


def read_version(folder: Path) -> object:
    """Fetch what a version carries, and read its predictions."""
    source, record = str(folder / VERSION_FILES).removesuffix("/extra_files"), folder / VERSION_FILES / RECORD_FILE
    client: Any = SimpleNamespace(get_model_version_download_uri=lambda name, number: source)
    version = Version("digits-rows", 1, "", "", {RECORD_DIGEST_TAG: sha256_file(record)}, "")
    with patch("tenacity.nap.time.sleep"):
        fetch_record(Tracking("sqlite:///none", "0", client, folder / "lock"), version, folder / "fetched")
    return _predictions(folder / "fetched")


def read_images(folder: Path) -> None:
    """Write the images of a folder as a dataset's are."""
    config = DataConfig(name="folder", folder=str(folder / "images"))
    images = load_folder(DATASETS["folder"], config, folder / "downloads").train_images_NHW
    assert not isinstance(images, np.ndarray)
    write_lazily(folder / "images.npy", images, np.arange(images.shape[0]), lambda sentence: None)


READERS: dict[str, Callable[[Path], object]] = {
    "trap": lambda folder: pickle.loads((folder / "file").read_bytes()),  # noqa: S301 (shows that a canary sings)
    "results trap": let_prefect_read,
    "results": read_results,
    "spool": read_spool,
    "version": read_version,
    "config": lambda folder: load_config(folder / "config.yaml"),
    "model": load_model,
    "split": lambda folder: open_split(folder, "train"),
    "store": read_store,
    "checkpoint": read_checkpoint,
    "journal": read_journal,
    "report": EvaluationReport.read,
    "training job": training_job.train,
    "evaluation job": evaluation_job.evaluate,
    "service": keeper_of,
    "image": lambda folder: decode_image(folder / "image.png", (28, 28)),
    "folder": read_images,
    "downloads": read_downloads,
    "gzip": lambda folder: gunzip_idx(folder / "archive", folder / "out"),
    "zip": lambda folder: extract_member(folder / "archive", "member", folder / "out"),
}


def read(reader: str, folder: Path) -> dict[str, Any]:
    """Read a folder's files; return what came of it and what it cost beyond what this process had."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_s = time.process_time()
    try:
        READERS[reader](folder)
        outcome = "read"
    except (RnnpipeError, SourceError) as error:
        outcome = f"refused: {str(error)[:200]}"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - start_s
    mebibytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    return {"outcome": outcome, "seconds": seconds, "mebibytes": mebibytes}


def read_in_fork(job: dict[str, str]) -> dict[str, Any]:
    """Return what came of a job; a fork that takes too long is killed."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(target, json.dumps(read(job["reader"], Path(job["folder"]))).encode())
        os._exit(0)
    os.close(target)
    ready, _, _ = select.select([source], [], [], PATIENCE_S)
    if not ready:
        os.kill(child, signal.SIGKILL)
    content = os.read(source, 1 << 16)
    os.close(source)
    os.waitpid(child, 0)
    told = json.loads(content) if content else {"outcome": "killed", "seconds": PATIENCE_S, "mebibytes": 0.0}
    return {"name": job["name"], **told}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(read_in_fork(json.loads(line))), flush=True)
