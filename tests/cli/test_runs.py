"""runs: what the pipeline has left behind, listed and found by tag."""

import json
from pathlib import Path
from typing import Any

import pytest
from workspaces import Done, Workspace


def test_a_run_is_listed_with_what_came_of_it(first_run: Done, call: Any) -> None:
    (title,) = [line for line in first_run.out.splitlines() if ", run " in line]
    run = title.split()[-1]
    listed = call("runs", "--limit", "100")
    assert listed.code == 0, listed.err
    (row,) = [line for line in listed.out.splitlines() if line.startswith(run)]
    assert " tiny " in row and " digits-rows " in row and " to " in row and row.rstrip().endswith(" 2")
    shown = call("runs", "--limit", "100", "--json")
    (found,) = [each for each in json.loads(shown.out) if each["run"] == run]
    assert found["config"] == "tiny" and found["ended"].endswith("Z")
    assert sorted(each["variant"] for each in found["trainings"]) == ["gru-8x1", "single-neuron"]
    assert found["best"] in [each["run_id"] for each in found["trainings"]]
    for each in found["trainings"]:
        assert each["accuracy_low"] < each["accuracy"] < each["accuracy_high"] and each["status"] == "FINISHED"
    assert found["version"]["uri"].startswith("models:/digits-rows/") and found["version"]["verdict"]


@pytest.mark.usefixtures("first_run")
def test_tags_of_a_config_find_its_run(workspace: Workspace, call: Any) -> None:
    config = workspace.config(
        "tagged", variants=[{"name": "single-neuron"}], sequence={"name": "columns"}
    )  # its own task
    done = call("run", config, "--set", "tracking.tags.purpose=paper", "--set", "tracking.tags.try=2")
    assert done.code == 0, done.err
    for asked in (["--tag", "purpose=paper"], ["--tag", "try=2", "--tag", "purpose"], ["--config", "tagged"]):
        found = call("runs", *asked)
        assert found.code == 0 and len(found.out.splitlines()) == 2 and " tagged " in found.out, found.out
    for asked in (["--tag", "purpose=other"], ["--tag", "purpose", "--tag", "no-such"], ["--config", "x"]):
        nothing = call("runs", *asked)
        assert nothing.code == 0 and nothing.out.startswith("no run of ") and "tagged, tiny" in nothing.out
    assert call("runs", "--experiment", "x").out == "no run fits; `rnnpipe runs` lists all\n"
    assert call("runs", "--tag", "purpose=other", "--json").out == "[]\n"
    more = call("runs", "--limit", "1")
    assert len(more.out.splitlines()) == 3 and " more; --limit " in more.out


def test_an_empty_workspace_says_what_to_run(call: Any, tmp_path: Path) -> None:
    nothing = {"RNNPIPE_HOME": str(tmp_path / "home")}
    assert "`rnnpipe run configs/quickstart.yaml`" in call("runs", environment=nothing).out
    assert call("runs", "--json", environment=nothing).out == "[]\n"
