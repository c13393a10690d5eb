"""champions, promote, rollback and prune, on what the pipeline registered."""

import json
from pathlib import Path
from typing import Any

import pytest
from workspaces import Workspace

from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.trend import EXPERIMENT, TREND_TAG


@pytest.mark.usefixtures("first_run")
def test_the_versions_are_listed_with_their_trend_here_and_in_mlflow(workspace: Workspace, call: Any) -> None:
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), None, workspace.home)
    champion = registry.champion(tracking, "digits-rows")
    assert champion is not None
    listed = call("champions")
    assert listed.code == 0, listed.err
    (row,) = [line for line in listed.out.splitlines() if " champion " in line]
    assert row.startswith(str(champion.number)) and " PROMOTE " in row and " to " in row
    assert champion.tags["rnnpipe.dataset_digest"][:8] in row
    assert "test accuracy, oldest to newest: " in listed.out and "█" in listed.out
    shown = call("champions", "digits-rows", "--json")
    versions = {each["version"]: each for each in json.loads(shown.out)["digits-rows"]}
    found = versions[champion.number]
    assert found["aliases"] == ["champion"] and found["verdict"] == "PROMOTE" and not found["decided"]
    assert found["accuracy_low"] < found["accuracy"] == found["correct"] / found["total"] < found["accuracy_high"]
    assert found["created"].endswith("Z") and found["reason"] and found["run_id"] == champion.run_id
    model = tracking.client.get_registered_model("digits-rows")
    assert TREND_TAG in model.tags and "![trend](get-artifact?path=trend.png&run_uuid=" in model.description
    assert tracking.client.get_experiment_by_name(EXPERIMENT) is not None


@pytest.mark.usefixtures("first_run")
def test_what_cannot_move_is_told_with_its_reason(call: Any) -> None:
    already = call("promote", "digits-rows", "--reason", "again")
    assert already.code == 0 and already.out.endswith("is the champion already; nothing was moved\n")
    for arguments, code, text in [
        (("promote", "digits-rows/99"), 5, "the versions 1"),
        (("promote", "s3://x"), 2, "names no model"),
        (("rollback", "digits-columns"), 5, "no model digits-columns is registered"),
        (("champions", "digits-columns"), 5, "these are: digits-rows"),
    ]:
        done = call(*arguments)
        assert done.code == code and text in done.err and "fix: " in done.err and not done.out, done.err


def test_an_empty_registry_says_what_to_run(call: Any, tmp_path: Path) -> None:
    nothing = {"RNNPIPE_HOME": str(tmp_path / "home")}
    assert "`rnnpipe run configs/quickstart.yaml`" in call("champions", environment=nothing).out
    assert call("champions", "--json", environment=nothing).out == "{}\n"
    assert call("prune", environment=nothing).out == "nothing to remove\n"


@pytest.mark.usefixtures("first_run")
def test_prune_lists_first_and_removes_when_told(workspace: Workspace, call: Any) -> None:
    left = workspace.home / ".weights.00000000-1.abc.tmp"
    left.touch()
    spooled = workspace.home / "spool" / "waiting.json"
    spooled.parent.mkdir(exist_ok=True)
    spooled.write_text("{}")
    waiting = call("prune", "--yes")
    assert waiting.code == 5 and "fix: `rnnpipe sync`" in waiting.err and not waiting.out
    spooled.unlink()
    listed = call("prune")
    assert listed.code == 0 and "stays         version models:/digits-rows/1: " in listed.out
    assert "stays         stored model (" in listed.out and "a version needs it" in listed.out
    assert "stays         output (" in listed.out and "output" not in listed.out.partition("would remove")[2]
    for wrong in (("--days", "0"), ("--keep", "-1")):
        assert call("prune", *wrong).code == 2
    before = workspace.manifests("trainings")
    done = call("prune", "--yes")
    assert done.code == 0 and workspace.manifests("trainings") == before
