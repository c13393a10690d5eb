"""The main job from end to end: what it tells, and what MLflow and Prefect hold afterwards."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from workspaces import TINY_LABELS, Done, Workspace, ask

from flows.server import running_url
from rnnpipe.evaluation.metrics import MetricNames
from rnnpipe.files import read_json
from rnnpipe.store import Store
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.looks import count_looks
from rnnpipe.tracking.recording import epoch_points
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.views import VIEW_TAG
from rnnpipe.training.journal import epochs_of, read_journal

MODEL = "digits-rows"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.fixture(scope="module")
def tracking(workspace: Workspace, first_run: Done) -> Tracking:
    return open_tracking(sqlite_uri(workspace.home / "mlflow.db"), MODEL, workspace.home)


@pytest.fixture(scope="module")
def flow_run_id(tracking: Tracking) -> str:
    (first, *_) = runs_of(tracking)
    return str(first.data.tags["prefect.flow_run_id"])


def runs_of(tracking: Tracking) -> list[Any]:
    """Return MLflow's runs, oldest first."""
    return list(tracking.client.search_runs([tracking.experiment_id], order_by=["attributes.start_time ASC"]))


def files_of(tracking: Tracking, run_id: str, folder: str | None = None) -> set[str]:
    return {Path(file.path).name for file in tracking.client.list_artifacts(run_id, folder)}


def champion(tracking: Tracking) -> Version:
    version = registry.champion(tracking, MODEL)
    assert version is not None
    return version


def test_it_ends_with_the_leaderboard_and_the_verdict(first_run: Done) -> None:
    assert first_run.code == 0, first_run.err
    for text in ("single-neuron", "gru-8x1", "PROMOTE models:/digits-rows/1", "rnnpipe predict"):
        assert text in first_run.out
    assert first_run.err == ""


def test_mlflow_holds_a_finished_run_for_each_variant(tracking: Tracking) -> None:
    runs = [run for run in runs_of(tracking) if run.data.params["training.learning_rate"] == "0.01"]
    assert {run.info.run_name for run in runs} == TINY_LABELS and len(runs) == len(TINY_LABELS)
    for run in runs:
        assert run.info.status == "FINISHED" and run.info.end_time >= run.info.start_time
        assert set(run.data.metrics) == {name.value for name in MetricNames}
        assert run.data.params["data.name"] == "digits" and run.data.params["seed"] == "0"
        assert len(run.data.tags["rnnpipe.pipeline_run"]) == 8 and run.data.tags["prefect.flow_run_id"]
        assert files_of(tracking, run.info.run_id) >= {"figures", "model", "journal.jsonl", "report.json"}
        assert files_of(tracking, run.info.run_id, "model") == {"weights.safetensors", "model.json"}
        figures = files_of(tracking, run.info.run_id, "figures")
        assert "learning_curves.png" in figures and len(figures) > 2


def test_the_comparison_view_is_saved(tracking: Tracking) -> None:
    assert VIEW_TAG in tracking.client.get_experiment(tracking.experiment_id).tags


def test_metric_history_is_the_journal(workspace: Workspace, tracking: Tracking) -> None:
    for run in runs_of(tracking):
        assert_history_is_the_journal(workspace, tracking, run)


def test_the_best_model_is_the_champion_and_says_why(tracking: Tracking) -> None:
    version = registry.resolve_model_uri(tracking, f"models:/{MODEL}/1")
    assert version.tags["rnnpipe.decision"] == "PROMOTE" and "no champion" in version.tags["rnnpipe.reason"]
    assert version.tags["rnnpipe.variant"] == "gru-8x1" and version.tags["rnnpipe.parent_champion"] == "none"


def test_prefect_holds_the_flow_run_and_the_end_of_every_task(workspace: Workspace, flow_run_id: str) -> None:
    url = running_url(workspace.home)
    assert url is not None
    (flow_run,) = ask(url, "flow_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
    assert flow_run["state"]["name"] == "Completed" and flow_run["name"] == "tiny digits-rows"
    names = task_states(url, flow_run_id)
    assert set(names.values()) == {"Completed"}
    assert set(names) == {
        "download digits", "sequences rows", *(f"train {label}" for label in TINY_LABELS),
        *(f"evaluate {label}" for label in TINY_LABELS), *(f"record {label}" for label in TINY_LABELS),
        "overview", "register digits-rows", "judge version 1",
    }  # fmt: skip
    artifacts = ask(url, "artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run_id]}})
    found = {artifact["key"]: artifact["data"] for artifact in artifacts}
    assert set(found) == {f"{kind}-{MODEL}" for kind in ("leaderboard", "verdict", "mlflow", "report")}
    assert "[report.html](http://127.0.0.1:5000/#/experiments/" in found[f"report-{MODEL}"]
    assert "PROMOTE" in found[f"verdict-{MODEL}"] and "viewStateShareKey" in found[f"mlflow-{MODEL}"]


def test_mlflow_holds_the_page_and_the_model_cards(tracking: Tracking) -> None:
    version = registry.resolve_model_uri(tracking, f"models:/{MODEL}/1")
    assert "report.html" in files_of(tracking, version.run_id)
    card, _, verdict = version.description.partition("**Verdict:**")
    assert "### Model card" in card and "`gru-8x1`, nn.GRU, one layer of 8" in card and "PROMOTE" in verdict
    assert version.tags["rnnpipe.dataset_digest"] in card and len(version.description) < 5000
    model = tracking.client.get_registered_model(MODEL).description
    assert (
        "**Champion:**" in model and f"models:/{MODEL}@champion" in model and "| net | gru-8x1, seed 0 |" in model
    )


def test_the_same_again_is_skipped(workspace: Workspace, tracking: Tracking) -> None:
    stages = {stage: workspace.manifests(stage) for stage in ("datasets", "sequences", "trainings", "evaluations")}
    assert all(stages.values())
    runs, alone = {run.info.run_id for run in runs_of(tracking)}, champion(tracking)
    again = workspace.rnnpipe("run", workspace.config())
    assert again.code == 0, again.err
    assert again.out.count("skipped: same ") == 2 + 2 * len(TINY_LABELS) and "runs: " not in again.out
    assert {stage: workspace.manifests(stage) for stage in stages} == stages
    assert {run.info.run_id for run in runs_of(tracking)} == runs
    assert champion(tracking) == alone and alone.tags["rnnpipe.decision"] == "PROMOTE"
    url = running_url(workspace.home)
    (newest,) = {run.data.tags["prefect.flow_run_id"] for run in runs_of(tracking)}
    states = task_states(str(url), newest)
    assert {state for name, state in states.items() if not name.startswith("record ")} == {"Cached", "Completed"}
    assert {states[f"{stage} {label}"] for stage in ("train", "evaluate") for label in TINY_LABELS} == {"Cached"}


def test_versions_are_held_promoted_and_rejected(workspace: Workspace, tracking: Tracking, call: Any) -> None:
    def run(*overrides: str) -> tuple[Done, dict[str, str]]:
        done = call("run", workspace.config(), *(part for each in overrides for part in ("--set", each)))
        assert done.code == 0, done.out + done.err
        return done, {name: str(number) for name, number in aliases_of(tracking).items()}

    (images,) = workspace.home.glob("store/datasets/*/manifest.json")  # other tests have measured models on them
    before = count_looks(tracking, champion(tracking), read_json(images)["digest"])
    looks = f"measured on these test images since models:/{MODEL}/{{}} was made: {{}} ("
    better = "training.learning_rate=0.03"
    held, aliases = run(better, "registry.significance=1.0e-300")  # no evidence is as strong as that
    assert "runs: training.learning_rate 0.01 → 0.03" in held.out
    assert f"HOLD models:/{MODEL}/2" in held.out and "disagreements no lead is enough" in held.out
    assert looks.format(1, before + len(TINY_LABELS)) in held.out
    assert aliases == {"champion": "1", "challenger": "2"}

    promoted, aliases = run(better)
    assert f"PROMOTE models:/{MODEL}/2" in promoted.out and "runs: " not in promoted.out
    assert looks.format(1, before + len(TINY_LABELS)) in promoted.out, "the same models again"
    assert aliases == {"champion": "2", "previous": "1"}
    version = champion(tracking)
    assert version.description.count("### Model card") == 1, "the version has been judged twice"
    assert version.tags["rnnpipe.parent_champion"] == f"models:/{MODEL}/1"
    assert files_of(tracking, version.run_id, f"verdict/{MODEL}") == {"verdict.json", "fixed.png", "broken.png"}
    details = json.loads(version.tags["rnnpipe.decision_details"])
    assert details["p_value"] <= 0.05 and details["fixed"] > details["broken"] and details["interval"][0] > 0
    assert f"({details['fixed']} fixed, {details['broken']} broken)" in version.description
    assert "fixed.png](#/" in version.description

    rejected, aliases = run()
    assert f"REJECT models:/{MODEL}/1" in rejected.out and "so it is worse than the champion" in rejected.out
    assert looks.format(2, 0) in rejected.out
    assert aliases == {"champion": "2", "previous": "1"}


def test_a_page_that_cannot_be_made_stops_no_run(
    workspace: Workspace, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise ValueError("no page today")

    monkeypatch.setattr("flows.reporting.conditions_of", fail)
    done = call("run", workspace.config())
    assert done.code == 0 and "digits-rows, run " in done.out
    assert "has no page" in done.err and "ValueError: no page today" in done.err and "Traceback" not in done.err


@pytest.mark.slow
def test_mlflow_gets_later_what_it_missed(workspace: Workspace, tracking: Tracking, call: Any) -> None:
    before = {run.info.run_id for run in runs_of(tracking)}
    changed = ("--set", "training.learning_rate=0.02", "--set", "registry.register_model=false")
    alone = call("run", workspace.config(), *changed, "--set", "tracking.uri=http://127.0.0.1:9")
    assert alone.code == 5
    assert "not tracked: MLflow can't be opened at http://127.0.0.1:9" in alone.out and "gru-8x1" in alone.out
    (run,) = re.findall(r"digits-rows, run ([0-9a-f]{8})", alone.out)
    page = workspace.folder / "untold.html"
    assert call("report", run, "-o", page).code == 0 and "MLflow doesn't hold this run" in page.read_text()
    assert {run.info.run_id for run in runs_of(tracking)} == before
    trained = workspace.manifests("trainings")

    together = call("run", workspace.config(), *changed)
    assert together.code == 0 and "runs: " not in together.out
    assert workspace.manifests("trainings") == trained
    new = [run for run in runs_of(tracking) if run.info.run_id not in before]
    assert {run.info.run_name for run in new} == TINY_LABELS and len(new) == len(TINY_LABELS)
    for run in new:
        assert run.info.status == "FINISHED"
        assert_history_is_the_journal(workspace, tracking, run)


def test_a_variant_that_fails_stops_no_other(workspace: Workspace, call: Any) -> None:
    diverges = {"name": "rnn", "hidden_size": 8, "num_layers": 1, "nonlinearity": "relu", "learning_rate": 10}
    steady = {"name": "gru", "hidden_size": 8, "num_layers": 1, "learning_rate": 0.01}
    training = {"epochs": 8, "batch_size": 32, "optimizer": "sgd", "gradient_clip_norm": None, "preflight": False}
    config = workspace.config(
        "diverging", variants=[diverges, steady], training=training, tracking={"experiment": "diverging"},
        registry={"register_model": False},
    )  # fmt: skip
    done = call("run", config)
    assert done.code == 4
    assert "failed: rnn-8x1-relu-lr10 s0: " in done.out
    assert "fix: lower training.learning_rate, or set training.gradient_clip_norm" in done.out
    assert "gru-8x1-lr0.01" in done.out
    (flow_run,) = ask(
        str(running_url(workspace.home)), "flow_runs/filter", flow_runs={"name": {"like_": "diverging"}}
    )
    assert (flow_run["state"]["type"], flow_run["state"]["name"]) == ("FAILED", "Incomplete")
    assert "rnn-8x1-relu-lr10 s0: " in flow_run["state"]["message"]
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "diverging", workspace.home)
    assert {run.info.run_name: run.info.status for run in runs_of(tracking)} == {
        "rnn-8x1-relu-lr10 s0": "FAILED",
        "gru-8x1-lr0.01 s0": "FINISHED",
    }


def aliases_of(tracking: Tracking) -> dict[str, Any]:
    return dict(tracking.client.get_registered_model(MODEL).aliases)


def task_states(api_url: str, flow_run_id: str) -> dict[str, str]:
    found = ask(api_url, "task_runs/filter", flow_runs={"id": {"any_": [flow_run_id]}})
    assert all(task_run["state"]["type"] in FINAL for task_run in found)
    return {task_run["name"]: task_run["state"]["name"] for task_run in found}


def assert_history_is_the_journal(workspace: Workspace, tracking: Tracking, run: Any) -> None:
    """Compare MLflow's points of each epoch metric with those the training wrote: none missing, none twice."""
    key = run.data.tags["rnnpipe.run_key"][:32]
    (folder,) = Store(workspace.home / "store").root.glob(f"trainings/{key}*/")
    points = [point for event in epochs_of(read_journal(folder)) for point in epoch_points(event)]
    assert points
    for name in {point.name for point in points}:
        expected = {(p.step, p.value, p.time_ms) for p in points if p.name == name}
        history = tracking.client.get_metric_history(run.info.run_id, name)
        assert {(p.step, p.value, p.timestamp) for p in history} == expected and len(history) == len(expected)
