"""`rnnpipe reproduce` on the version that the pipeline registered."""

from typing import Any

import pytest
import torch
from workspaces import Workspace

from rnnpipe.files import sha256_file
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.record import REPRODUCED_TAG


@pytest.mark.usefixtures("first_run")
def test_the_pipelines_version_is_made_again(workspace: Workspace, call: Any) -> None:
    uri = "models:/digits-rows/1"
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), None, workspace.home)
    stored = workspace.manifests("trainings")
    done = call("reproduce", uri)
    assert done.code == 0, done.err
    *_, verdict = done.out.splitlines()
    weights = {sha256_file(path.parent / "weights.safetensors") for path in stored}
    assert verdict.startswith("SAME: weights ") and verdict.split()[2].rstrip(",") in weights
    assert verdict.endswith(", 18 losses, 2 epochs, 360 predictions") and f"{uri}: gru-8x1" in done.err
    assert registry.resolve_model_uri(tracking, uri).tags[REPRODUCED_TAG].startswith(verdict)
    assert workspace.manifests("trainings") == stored

    unknown = call("reproduce", "digits-rows@nobody")
    assert unknown.code == 5 and "fix: " in unknown.err and not unknown.out


@pytest.mark.slow
@pytest.mark.usefixtures("first_run")
def test_another_cpu_is_refused_and_found_out(workspace: Workspace) -> None:
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("torch can't pretend to have a lesser CPU here")
    lesser = Workspace(workspace.folder)
    lesser.environment["ATEN_CPU_CAPABILITY"] = "default"
    refused = lesser.rnnpipe("reproduce", "models:/digits-rows/1")
    assert refused.code == 7 and "- cpu capability: AVX" in refused.err and "--anyway" in refused.err
    different = lesser.rnnpipe("reproduce", "models:/digits-rows/1", "--anyway")
    assert different.code == 4 and "DIFFERENT: step " in different.out
    assert "likely cause: rounding" in different.out and "here DEFAULT" in different.out
