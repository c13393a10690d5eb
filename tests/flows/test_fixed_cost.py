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


def of_prefect(program: str) -> bool:
    return "rnnpipe.processes.service" in program or "prefect" in program


def test_a_run_starts_two_interpreters_and_exports_once_and_an_unchanged_one_does_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    config = workspace.config("counted", variants=[{"name": "gru", "hidden_size": 4, "num_layers": 1}])
    started, imported = watched(workspace, config, monkeypatch)
    assert imported >= {"prefect", "mlflow", "torch"}, "else what follows says nothing"
    own = [each for each in started if not of_prefect(each)]
    assert len(own) == 2, own
    assert sum("rnnpipe.processes.forkserver" in each for each in own) == 1
    assert sum("'-I'" in each for each in own) == 1, "the clean process that loads the model back"
    exports = list(workspace.home.glob("artifacts/**/MLmodel"))
    assert len(exports) == 1

    started, imported = watched(workspace, config, monkeypatch)
    assert [each for each in started if not of_prefect(each)] == []
    assert "prefect" in imported and not imported & {"torch", "torchvision", "matplotlib", "sklearn"}
    assert list(workspace.home.glob("artifacts/**/MLmodel")) == exports
