"""What a finished workspace holds, in a form that can be compared; and what is wrong with it, in words."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rnnpipe.config import PipelineConfig
from rnnpipe.evaluation.report import PREDICTIONS_FILE
from rnnpipe.files import sha256_file
from rnnpipe.store import MANIFEST
from rnnpipe.training.journal import read_journal, step_losses

TIMES = {"time_ms", "wall_s", "samples_per_s"}
MODEL = "digits-rows"


def outcome_of(home: Path) -> dict[str, Any]:
    """Return what doesn't depend on time: weights, losses, epochs and predictions, by the stage's key."""
    trainings = [path.parent for path in home.glob(f"store/trainings/*/{MANIFEST}")]
    evaluations = [path.parent for path in home.glob(f"store/evaluations/*/{MANIFEST}")]
    return {
        "weights": {folder.name: sha256_file(folder / "weights.safetensors") for folder in trainings},
        "losses": {folder.name: step_losses(read_journal(folder)) for folder in trainings},
        "epochs": {folder.name: _epochs(folder) for folder in trainings},
        "predictions": {folder.name: sha256_file(folder / PREDICTIONS_FILE) for folder in evaluations},
    }


def _epochs(folder: Path) -> list[dict[str, Any]]:
    events = [event for event in read_journal(folder) if event["event"] == "epoch"]
    return [{name: value for name, value in event.items() if name not in TIMES} for event in events]


def problems_of(home: Path, config: PipelineConfig, *, with_times: bool = True) -> list[str]:
    """Return what is wrong with a finished workspace: MLflow, registry, spool.

    A journal that was damaged is made anew, later; MLflow keeps the times of the first: then they aren't compared.
    """
    from rnnpipe.tracking import registry
    from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
    from rnnpipe.tracking.promotion import fetch_model
    from rnnpipe.tracking.runs import RUN_KEY_TAG

    tracking = _tracking_of(home, config)
    runs = tracking.client.search_runs([tracking.experiment_id], max_results=100)
    trainings = {path.parent.name: path.parent for path in home.glob(f"store/trainings/*/{MANIFEST}")}
    problems = []
    keys = sorted(run.data.tags[RUN_KEY_TAG] for run in runs)
    if keys != sorted(trainings):
        problems.append(f"MLflow has {len(runs)} runs, and there are {len(trainings)} trainings")
    for run in runs:
        if run.info.status != "FINISHED":
            problems.append(f"MLflow's run is {run.info.status}")
        problems += _compare_with_journal(
            tracking, run.info.run_id, trainings[run.data.tags[RUN_KEY_TAG]], with_times
        )
    for what, things in {
        "versions": tracking.client.search_model_versions(f"name = '{config.model_name}'"),
        "stored models": tracking.client.search_logged_models([tracking.experiment_id]),
    }.items():
        digests = [thing.tags[MODEL_DIGEST_TAG] for thing in things]
        if not things or len(set(digests)) < len(digests):
            problems.append(f"{what}: {digests}")
    champion = registry.champion(tracking, config.model_name)
    if champion is None:
        problems.append("there is no champion")
    else:
        fetch_model(tracking, champion, home / "fetched")  # raises where the files don't verify
    problems += [f"spooled: {path.name}" for path in home.glob("spool/*.json")]
    return problems


def _compare_with_journal(tracking: Any, run_id: str, folder: Path, with_times: bool) -> list[str]:
    """Say where MLflow's histories and the journal differ: a gap, a duplicate, another value, another time."""
    from rnnpipe.tracking.recording import journal_points

    told: dict[str, list[tuple[int, float, int]]] = {}
    for point in journal_points(read_journal(folder)):
        told.setdefault(point.name, []).append((point.step, point.value, point.time_ms))
    problems = []
    for name, points in told.items():
        found = tracking.client.get_metric_history(run_id, name)
        held = sorted((each.step, each.value, each.timestamp) for each in found)
        if [point[0] for point in held] != [point[0] for point in points]:
            problems.append(f"{name}: MLflow has {len(held)} points, the journal {len(points)}")
        elif with_times or "samples_per_s" not in name:
            pairs, what = zip(held, points, strict=True), slice(3 if with_times else 2)
            problems += [f"{name}: MLflow has {a}, the journal {b}" for a, b in pairs if a[what] != b[what]][:1]
    return problems


def _write(path: Path, home: Path, found: list[str], outcome: dict[str, Any]) -> None:
    """Write an outcome and what is wrong as JSON, with what `rnnpipe doctor` finds."""
    from flows import health
    from flows.doctor import examine

    health._check_import = lambda: None  # seconds, and the same for every workspace
    del os.environ["PREFECT_API_URL"]
    unwell = [each for each in examine(home) if not each.is_well and each.subject != "disk"]
    problems = [*found, *(f"doctor: {each.subject}: {each.text}" for each in unwell)]
    problems += [f"temporary: {path}" for path in home.parent.rglob(".*.tmp")]
    path.write_text(json.dumps({"outcome": outcome, "problems": problems}), encoding="utf-8")


def write_state(path: Path, home: Path, config: PipelineConfig) -> None:
    """Write outcome and problems of a workspace as JSON; for a forked process."""
    _write(path, home, problems_of(home, config), outcome_of(home))


def write_state_of_damaged(path: Path, home: Path, config: PipelineConfig) -> None:
    """Write the same of a workspace whose journal may have been damaged."""
    _write(path, home, problems_of(home, config, with_times=False), outcome_of(home))


def depose(home: Path, config: PipelineConfig) -> None:
    """Let no alias name the champion any more."""
    _tracking_of(home, config).client.delete_registered_model_alias(config.model_name, "champion")


def add_nameless(home: Path, config: PipelineConfig) -> None:
    """Register a version that no alias names."""
    from rnnpipe.tracking import registry
    from rnnpipe.tracking.digests import MODEL_DIGEST_TAG

    tracking, tags = _tracking_of(home, config), {MODEL_DIGEST_TAG: "of another"}
    model = tracking.client.create_logged_model(tracking.experiment_id, name="net", tags=tags)
    registry.register(tracking, config.model_name, registry.Candidate(model.model_uri, "a run", "another", {}, ""))


def write_registry(path: Path, home: Path, config: PipelineConfig) -> None:
    """Write which version each alias of the job's model names; how many versions and stored models there are."""
    tracking = _tracking_of(home, config)
    aliases = tracking.client.get_registered_model(config.model_name).aliases
    outcome = {name: int(number) for name, number in aliases.items()}
    outcome["versions"] = len(tracking.client.search_model_versions(f"name = '{config.model_name}'"))
    outcome["models"] = len(tracking.client.search_logged_models([tracking.experiment_id]))
    path.write_text(json.dumps({"outcome": outcome}))


def _tracking_of(home: Path, config: PipelineConfig) -> Any:
    from rnnpipe.tracking.addresses import resolve_uri
    from rnnpipe.tracking.client import open_tracking

    return open_tracking(resolve_uri(config.tracking.uri, home), config.experiment, home)


def write_state_of_demos(path: Path, home: Path, config: PipelineConfig) -> None:
    """Write what is wrong with a workspace in which the demos ran: each is to be one finished, whole run."""
    from rnnpipe.models.demos import run_demos
    from rnnpipe.tracking.addresses import resolve_uri
    from rnnpipe.tracking.client import open_tracking
    from rnnpipe.tracking.demos import EXPERIMENT, demo_metrics

    tracking = open_tracking(resolve_uri(None, home), EXPERIMENT, home)
    expected = {report["name"]: demo_metrics(report) for report in map(asdict, run_demos(0))}
    runs = tracking.client.search_runs([tracking.experiment_id])
    problems = [] if len(runs) == len(expected) else [f"MLflow has {len(runs)} runs of {len(expected)} demos"]
    for run in runs:
        names = [each.path for each in tracking.client.list_artifacts(run.info.run_id)]
        if run.info.status != "FINISHED" or names != ["report.json"]:
            problems.append(f"{run.info.run_name} is {run.info.status}, with {names}")
        if run.data.metrics != expected[run.info.run_name]:
            problems.append(f"{run.info.run_name}: MLflow has other figures")
    _write(path, home, problems, {})
