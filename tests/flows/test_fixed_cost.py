"""What the fixed cost of a run is made of: interpreters, heavy imports, exports. They are counted, not timed."""

import os
import sys
from pathlib import Path

import pytest
from workspaces import ROOT, Workspace

WATCH = Path(__file__).parent / "watch"


def watched(workspace: Workspace, config: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], set[str]]:
    """Run a config; return the interpreters that were started, and the heavy modules of the command's process."""
    log = config.with_suffix(".watched")
    log.unlink(missing_ok=True)
    monkeypatch.setitem(workspace.environment, "PYTHONPATH", os.pathsep.join(map(str, (ROOT, WATCH))))
    monkeypatch.setitem(workspace.environment, "WATCHED", str(log))
    done = workspace.rnnpipe("run", config)
    assert done.code == 0, done.out + done.err
    lines = [line.partition(" ") for line in log.read_text(encoding="utf-8").splitlines()]
    started = [told for kind, _, told in lines if kind == "starts" and sys.executable in told]
    return started, {told for kind, _, told in lines if kind == "imports"}


@pytest.mark.usefixtures("first_run")
def test_a_run_starts_two_interpreters_and_exports_once_and_an_unchanged_one_does_neither(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = workspace.config(
        "counted", variants=[{"name": "gru", "hidden_size": 4, "num_layers": 1}],
        tracking={"experiment": "counted"}, registry={"model_name": "counted"},
    )  # fmt: skip
    started, imported = watched(workspace, config, monkeypatch)
    assert imported >= {"prefect", "mlflow", "torch"}, "else what follows says nothing"
    assert len(started) == 2, started  # Prefect's server is there
    assert sum("rnnpipe.processes.forkserver" in each for each in started) == 1
    assert sum("'-I'" in each for each in started) == 1, "the clean process that loads the model back"
    exports = list(workspace.home.glob("artifacts/counted/models/*/artifacts/MLmodel"))
    assert len(exports) == 1

    started, imported = watched(workspace, config, monkeypatch)
    assert started == []
    assert "prefect" in imported and not imported & {"torch", "torchvision", "matplotlib", "sklearn"}
    assert list(workspace.home.glob("artifacts/counted/models/*/artifacts/MLmodel")) == exports
