"""Two versions of a small net, registered and ready to be served, in a workspace of their own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from workspaces import Workspace

from rnnpipe.config import VariantConfig
from rnnpipe.evaluation.deploy import Deploy, build_network, load_model, save_model
from rnnpipe.evaluation.spec import ModelSpec
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import RunSpec, start_run

NAME = "mnist-rows"
START_MS = 1_700_000_000_000
FACTS = {
    "dataset": {"name": "mnist", "digest": "d" * 64}, "classes": [str(number) for number in range(10)],
    "image_size": [28, 28], "sequence": {"name": "rows"}, "steps": 28, "features": 28,
    "mean": 0.1, "deviation": 0.3,
}  # fmt: skip


@dataclass
class Served:
    """Two versions of a model; the first is the champion."""

    workspace: Workspace
    tracking: Tracking
    versions: tuple[Version, Version]
    folders: tuple[Path, Path]

    def expected(self, number: int, images_NHW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities that version `number` gives."""
        with torch.inference_mode():
            found: NDArray[np.float32] = Deploy(*load_model(self.folders[number - 1]))(
                torch.from_numpy(images_NHW)
            ).numpy()
        return found


def register_two(folder: Path) -> Served:
    """Register two versions that answer differently to anything."""
    (folder / "work space").mkdir()
    workspace = Workspace(folder / "work space")
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), NAME, workspace.home)
    spec = ModelSpec.of(FACTS, VariantConfig(name="gru", hidden_size=8, num_layers=1))
    versions, folders = [], []
    for seed in (1, 2):
        folders.append(folder / f"model-{seed}")
        network = build_network(spec, seed)
        with torch.no_grad():
            network.head.bias[seed] += 3
        save_model(folders[-1], spec, network)
        run_id = start_run(tracking, RunSpec(f"{seed:064}", "gru-8x1", {}, {}, START_MS))
        uri = log_deployed_model(tracking, run_id, folders[-1], step=1, tags={})
        candidate = Candidate(
            uri, run_id, f"fingerprint {seed}", {"rnnpipe.variant": spec.variant.label}, "A net."
        )
        versions.append(registry.register(tracking, NAME, candidate))
    assert registry.promote(tracking, versions[0], None)
    return Served(workspace, tracking, (versions[0], versions[1]), (folders[0], folders[1]))
