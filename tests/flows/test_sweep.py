"""Sweeps of real trainings: trials, runs, figures; killed in the middle and gone on with."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from workspaces import Done, Workspace, ask, done, wait_for

from flows.server import running_url
from rnnpipe.files import read_json, sha256_file
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.store import MANIFEST
from rnnpipe.sweeping.facts import SweepFacts
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.sweeps import OF_BEST, OF_TRIALS, STATE_TAG, SWEEP_TAG, TRIAL_TAG
from rnnpipe.training.journal import epochs_of, read_journal

pytest.importorskip("optuna")

EXPERIMENT = "digits-rows-sweeps"
GRU = [{"name": "gru", "hidden_size": 8, "num_layers": 1}]
TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "preflight": False}
PARAMETERS = {
    "training.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "variants.0.hidden_size": {"choices": [4, 8]},
}


def config_of(workspace: Workspace, name: str, training: Any = None, **plan: Any) -> Path:
    return workspace.config(
        name, variants=GRU, training={**TRAINING, **(training or {})}, sweep={"parameters": PARAMETERS, **plan}
    )


def facts_of(workspace: Workspace, name: str) -> SweepFacts:
    (path,) = workspace.home.glob(f"sweeps/{name}-????????/sweep.json")
    return SweepFacts.model_validate(read_json(path))


def tracking_of(workspace: Workspace) -> Tracking:
    return open_tracking(sqlite_uri(workspace.home / "mlflow.db"), EXPERIMENT, workspace.home)


def runs_of(workspace: Workspace, sweep: str) -> dict[str, Any]:
    """Return MLflow's runs of a sweep by name; no name may be there twice."""
    tracking = tracking_of(workspace)
    runs = tracking.client.search_runs([tracking.experiment_id], f"tags.`{SWEEP_TAG}` = '{sweep}'")
    found = {run.info.run_name: run for run in runs}
    assert len(found) == len(runs)
    return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace without a kept server, in which nothing lives after the test."""
    own = Workspace(tmp_path)
    yield own
    for process in own.processes():
        stop_process(process)


def test_a_sweep_finds_a_best_trial_that_becomes_a_model(workspace: Workspace, call: Callable[..., Done]) -> None:
    measured = workspace.manifests("evaluations")
    config = config_of(workspace, "small", trials=3, parallel=1)
    swept = call("sweep", config)
    assert swept.code == 0, swept.err
    facts = facts_of(workspace, "small")
    best = facts.best
    assert best is not None and [each.state for each in facts.trials] == ["complete"] * 3
    for text in (
        "  learning_rate  hidden_size",
        "0 of 3 trials have ended",
        "trial 2  training.learning_rate=",
        f"BEST trial {best.number}: ",
    ):
        assert text in swept.out
    assert workspace.manifests("evaluations") == measured, "a trial saw test images"
    for trial in facts.trials:
        (key,) = trial.trainings
        manifest = read_json(workspace.home / "store" / "trainings" / key / MANIFEST)
        assert manifest["facts"]["validation_accuracy"] == trial.accuracy
        assert manifest["inputs"]["training"]["learning_rate"] == trial.values["training.learning_rate"]

    runs = runs_of(workspace, facts.name)
    assert set(runs) == {"trial 0", "trial 1", "trial 2", f"sweep {facts.name}"}
    for trial in facts.trials:
        run = runs[f"trial {trial.number}"]
        assert run.info.status == "FINISHED" and run.data.tags[STATE_TAG] == "complete"
        assert run.data.tags[TRIAL_TAG] == str(trial.number) and "rnnpipe.pipeline_run" not in run.data.tags
        assert run.data.params["variant_config.hidden_size"] == str(trial.values["variants.0.hidden_size"])
        assert max(_history(workspace, run, "val/accuracy").values()) == trial.accuracy
    whole = runs[f"sweep {facts.name}"]
    assert whole.info.status == "FINISHED" and whole.data.metrics["sweep/complete"] == 3
    assert _history(workspace, whole, OF_TRIALS) == {each.number: each.accuracy for each in facts.trials}
    assert _history(workspace, whole, OF_BEST)[2] == best.accuracy
    files = {file.path for file in tracking_of(workspace).client.list_artifacts(whole.info.run_id)}
    assert files == {"best.yaml", "figures", "report.html"}
    figures = {file.path for file in tracking_of(workspace).client.list_artifacts(whole.info.run_id, "figures")}
    assert figures == {f"figures/{name}.png" for name in ("importance", "parallel_coordinates", "trials")}
    (flow_run,) = ask(
        str(running_url(workspace.home)), "flow_runs/filter", flow_runs={"name": {"like_": "sweep small"}}
    )
    assert flow_run["state"]["name"] == "Completed"

    trained = workspace.manifests("trainings")
    again = call("sweep", config)
    assert again.code == 0 and "3 of 3 trials have ended" in again.out and "runs: " not in again.out
    assert facts_of(workspace, "small") == facts and set(runs_of(workspace, facts.name)) == set(runs)
    assert re.search(r"rnnpipe run \S.*best\.yaml", again.out) and "--set training.learning_rate=" in again.out
    best_file = workspace.home / "sweeps" / facts.name / "best.yaml"
    run = call("run", best_file, "--set", "registry.model_name=tuned")
    assert run.code == 0, run.err
    assert "models:/tuned/1" in run.out and workspace.manifests("trainings") == trained, "it was trained again"
    listed = call("runs")
    assert listed.code == 0 and facts.name not in listed.out
    page = workspace.folder / "sweep.html"
    told = call("report", facts.name, "-o", page)
    assert told.code == 0 and f"sweep {facts.name}, " in told.out
    assert page.read_bytes() == (workspace.home / "sweeps" / facts.name / "report.html").read_bytes()


def _history(workspace: Workspace, run: Any, name: str) -> dict[int, float]:
    points = tracking_of(workspace).client.get_metric_history(run.info.run_id, name)
    found = {point.step: point.value for point in points}
    assert len(found) == len(points)
    return found


def test_a_config_without_a_sweep_or_with_a_wrong_one_starts_nothing(
    workspace: Workspace, call: Callable[..., Done]
) -> None:
    done = call("sweep", workspace.config("none"))
    assert done.code == 2 and "no section `sweep`" in done.err and "fix: add one" in done.err
    wrong = call("sweep", config_of(workspace, "wrong"), "--set", "sweep.trials=0")
    assert wrong.code == 2 and "sweep.trials = 0" in wrong.err
    storage = call(
        "sweep", config_of(workspace, "wrong"), environment={"RNNPIPE_SWEEP_STORAGE": "redis://:secret@a"}
    )
    assert storage.code == 2 and "no sweep can be kept" in storage.err and "secret" not in storage.err


def test_a_trial_whose_images_can_t_be_read_so_fails_and_the_sweep_goes_on(
    workspace: Workspace, call: Callable[..., Done]
) -> None:
    space = {"sequence.patch_size": {"choices": [2, 3]}}  # digits have 8 x 8 pixels
    plan = {"trials": 4, "parallel": 1, "sampler": "random", "parameters": space}
    sequence = {"name": "patches", "patch_size": 2}
    config = workspace.config(
        "patches", variants=GRU, training={**TRAINING, "epochs": 1}, sequence=sequence, sweep=plan
    )
    for swept in (call("sweep", config), call("sweep", config)):
        assert swept.code == 0, swept.err
        facts = facts_of(workspace, "patches")
        found = {each.values["sequence.patch_size"]: (each.state, "patch" in each.error) for each in facts.trials}
        assert len(facts.trials) == 4 and found == {2: ("complete", False), 3: ("failed", True)}


@pytest.mark.slow
def test_trials_are_pruned_through_their_process_and_told_so(
    workspace: Workspace, call: Callable[..., Done]
) -> None:
    config = config_of(workspace, "pruning", {"epochs": 12, "batch_size": 4}, trials=12, parallel=1)
    swept = call("sweep", config)
    assert swept.code == 0, swept.err
    facts = facts_of(workspace, "pruning")
    pruned = [each for each in facts.trials if each.state == "pruned"]
    assert pruned and len(facts.trials) == 12
    assert all(each.state == "complete" for each in facts.trials[:5])
    runs = runs_of(workspace, facts.name)
    made = list[int]()
    complete = {key for each in facts.trials if each.state == "complete" for key in each.trainings}
    for each in pruned:
        assert f"trial {each.number}  pruned: below the median" in swept.out
        (key,) = each.trainings
        folder = workspace.home / "store" / "trainings" / key
        if key not in complete:  # the same values may have been tried before
            assert not (folder / MANIFEST).exists() and 1 < each.epochs < 12
            made.append(len(epochs_of(read_journal(folder))))
            run = runs[f"trial {each.number}"]
            assert run.info.status == "KILLED" and run.data.tags[STATE_TAG] == "pruned"
            assert each.epochs in _history(workspace, run, "val/accuracy")
    assert made and min(made) < 12, "no process was stopped"
    (flow_run,) = ask(
        str(running_url(workspace.home)), "flow_runs/filter", flow_runs={"name": {"like_": "sweep pruning"}}
    )
    assert flow_run["state"]["name"] == "Completed"
    found = ask(str(running_url(workspace.home)), "task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
    states = {task["name"]: task["state"]["name"] for task in found}
    assert {states[f"train trial {each.number}"] for each in pruned} == {"Pruned"}


@pytest.mark.slow
def test_several_seeds_are_one_trial(workspace: Workspace, call: Callable[..., Done]) -> None:
    config = config_of(workspace, "seeded", {"epochs": 3}, trials=2)  # trainings that no other sweep has made
    swept = call("sweep", config, "--set", "seeds=2")
    assert swept.code == 0, swept.err
    facts = facts_of(workspace, "seeded")
    for trial in facts.trials:
        accuracies = [
            read_json(workspace.home / "store" / "trainings" / key / MANIFEST)["facts"]["validation_accuracy"]
            for key in trial.trainings
        ]
        assert len(accuracies) == 2 and trial.accuracy == pytest.approx(sum(accuracies) / 2)
    names = {f"trial {trial} s{seed}" for trial in range(2) for seed in range(2)}
    assert set(runs_of(workspace, facts.name)) == {*names, f"sweep {facts.name}"}
    assert "the mean over 2 seeds" in swept.out


@pytest.mark.slow
def test_a_trial_that_diverges_is_told_and_stops_no_other(workspace: Workspace, call: Callable[..., Done]) -> None:
    variants = [{"name": "rnn", "hidden_size": 8, "num_layers": 1, "nonlinearity": "relu"}]
    training = {"epochs": 8, "batch_size": 32, "optimizer": "sgd", "gradient_clip_norm": None, "preflight": False}
    space = {"training.learning_rate": {"choices": [0.01, 10.0]}}
    plan = {"trials": 4, "parallel": 1, "sampler": "random", "parameters": space}
    config = workspace.config("diverging-sweep", variants=variants, training=training, sweep=plan)
    swept = call("sweep", config)
    facts = facts_of(workspace, "diverging-sweep")
    assert {each.values["training.learning_rate"]: each.state for each in facts.trials} == {
        0.01: "complete", 10.0: "failed",
    }  # fmt: skip
    assert swept.code == 0 and "failed: trial " in swept.out
    again = call("sweep", config)
    assert again.code == 0 and "4 of 4 trials have ended" in again.out
    runs = runs_of(workspace, facts.name)
    assert {run.info.status for name, run in runs.items() if name.startswith("trial ")} == {"FINISHED", "FAILED"}


def weights_of(workspace: Workspace, facts: SweepFacts) -> dict[str, str]:
    """Return the SHA-256 of the weights of each finished trial's training."""
    keys = [key for each in facts.trials if each.state == "complete" for key in each.trainings]
    folder = workspace.home / "store" / "trainings"
    return {key: sha256_file(folder / key / "weights.safetensors") for key in keys}


def is_in_the_middle_of(workspace: Workspace, number: int) -> bool:
    """Say whether so many trainings are finished, and another is under way, in the middle of its ten epochs.

    One that was pruned is neither: its journal ends with the checkpoint that it left.
    """
    folders = workspace.home.glob("store/trainings/*/")
    journals = [read_journal(each) for each in folders if not (each / MANIFEST).exists()]
    under_way = [events for events in journals if events and events[-1]["event"] != "checkpoint"]
    is_begun = any(3 <= len(epochs_of(events)) <= 8 for events in under_way)
    return len(workspace.manifests("trainings")) >= number and is_begun


@pytest.mark.slow
def test_a_killed_sweep_runs_no_trial_twice_and_ends_as_if_undisturbed(own: Workspace, tmp_path: Path) -> None:
    training, plan = {"epochs": 10, "batch_size": 8}, {"trials": 12, "parallel": 1}
    for number in (2, 4):  # none is pruned before five have finished
        with own.start("sweep", config_of(own, "killed", training, **plan)) as process:
            while process.poll() is None and not is_in_the_middle_of(own, number):
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            assert done(process).code == -signal.SIGKILL
        wait_for(lambda: not own.processes(), timeout_s=20)
    before = own.manifests("trainings")
    whole = own.rnnpipe("sweep", config_of(own, "killed", training, **plan))
    assert whole.code == 0, whole.err
    facts = facts_of(own, "killed")
    assert [each.number for each in facts.trials] == list(range(12))
    assert before.items() <= own.manifests("trainings").items(), "a finished training was made again"
    told = re.findall(r"^trial (\d+)  (goes on: )?training\.learning_rate=", whole.out, re.MULTILINE)
    assert told[0][1] and not any(goes_on for _, goes_on in told[1:])
    assert [int(number) for number, _ in told] == list(range(int(told[0][0]), 12)) and int(told[0][0]) >= 4
    assert f"trial {told[0][0]}  goes on after step " in whole.out
    runs = runs_of(own, facts.name)
    assert {run.info.status for run in runs.values()} <= {"FINISHED", "KILLED"}
    distinct = {each.trainings for each in facts.trials}
    assert len(runs) == len(distinct) + 1

    other = Workspace(tmp_path / "undisturbed")
    other.folder.mkdir()
    undisturbed = other.rnnpipe("sweep", config_of(other, "killed", training, **plan))
    assert undisturbed.code == 0, undisturbed.err
    expected = facts_of(other, "killed")
    assert expected.name == facts.name
    clock = {"ended_at_ms": None}
    assert [each.model_copy(update=clock) for each in facts.trials] == [
        each.model_copy(update=clock) for each in expected.trials
    ]
    assert weights_of(own, facts) == weights_of(other, expected)
