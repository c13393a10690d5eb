"""Retraining: what counts as a change, the skip that says why not, drift and what stops a run before training."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from workspaces import TINY, Done, Workspace, ask

from flows import changes
from flows.changes import basis_of, change_since
from flows.server import running_url
from rnnpipe import catalogue, plugins
from rnnpipe.catalogue import DatasetSpec, SequenceSpec, VariantSpec
from rnnpipe.config import PipelineConfig
from rnnpipe.data.drift import DriftReport
from rnnpipe.data.stages import dataset_recipe
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.judged import Basis, Judged, fetch_profile

MODEL = "shapes-rows"
VARIANTS = [{"name": "gru", "hidden_size": 8, "num_layers": 1}]
URI, AT = "models:/digits-rows/3", "2026-10-30 02:00:00 UTC"


def basis(**sections: Any) -> Basis:
    config = PipelineConfig.model_validate({**TINY, **sections})
    return basis_of(config, dataset_recipe(config.data))


def judged(on: Basis, uri: str = URI) -> Judged:
    return Judged(uri, "HOLD", AT, on)


def reason(now: Basis, before: Basis) -> str:
    change = change_since(now, [judged(before)], "digits-rows")
    assert change.same is None
    return change.reason


def draw(folder: Path, classes: tuple[str, ...], *, height: int = 8) -> Path:
    """Draw noisy images of a bright row, whose place is the class', below `folder`/shapes."""
    random = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / "shapes" / name).mkdir(parents=True, exist_ok=True)
        for number in range(24):
            pixels = random.integers(0, 80, (height, 8), dtype=np.uint8)
            pixels[2 * place + 1] += 150
            Image.fromarray(pixels).save(folder / "shapes" / name / f"{number}.png")
    return folder / "shapes"


def test_the_same_is_the_same_wherever_the_images_lie_and_however_the_run_is_called(tmp_path: Path) -> None:
    one, other = (
        basis(data={"name": "folder", "folder": str(draw(tmp_path / place, ("a", "b")))}, **more)
        for place, more in {"one": {}, "other": {"name": "nightly", "tracking": {"experiment": "e"}}}.items()
    )
    older = judged(basis(seeds=[9]), "models:/shapes-rows/1")
    change = change_since(other, [older, judged(one)], MODEL)
    assert change.reason == f"same images, config and code as {URI}, judged HOLD on {AT}"
    assert change.same is not None and change.same.uri == URI


def test_changed_images_are_told(tmp_path: Path) -> None:
    data = {"name": "folder", "folder": str(draw(tmp_path, ("a", "b")))}
    before = basis(data=data)
    (tmp_path / "shapes" / "a" / "0.png").unlink()
    now = basis(data=data)
    digests = [str(each["images"])[:8] for each in (before, now)]
    assert reason(now, before) == f"images changed {digests[0]} → {digests[1]} since {URI} was judged on {AT}"


def test_a_changed_config_is_told_by_its_field() -> None:
    now = basis(training={**TINY["training"], "learning_rate": 0.02})
    assert reason(now, basis()) == f"training.learning_rate 0.01 → 0.02 since {URI} was judged on {AT}"
    assert reason(basis(registry={"margin": 0.5}), basis()).startswith("registry.margin 0.01 → 0.5")
    more = basis(variants=[*TINY["variants"], {"name": "rnn"}])
    assert reason(more, basis()).startswith("variants.rnn ") and "is new since" in reason(more, basis())


@pytest.mark.parametrize(
    ("path", "name"),
    [("data", "data"), ("evaluation", "evaluation"), ("models", "models"), ("training", "training"),
     ("runtime.py", "runtime")],
)  # fmt: skip
def test_changed_code_is_told_by_its_package(path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = basis()
    for function in ("sha256_file", "sha256_tree"):
        real = getattr(changes, function)
        monkeypatch.setattr(changes, function, lambda p, real=real: "ab" * 32 if p.name == path else real(p))
    old = before["code"][path][:8]
    expected = f"code of rnnpipe.{name} changed (revision {old} → abababab) since"
    assert reason(basis(), before).startswith(expected)


PLUGGED = {
    "data": (catalogue.DATASETS, DatasetSpec("", "plugged_of_test.images:load", has_test_split=False)),
    "sequence": (catalogue.SEQUENCES, SequenceSpec("", "plugged_of_test.sequences:Own")),
    "variants": (catalogue.VARIANTS, VariantSpec("", "plugged_of_test.nets:Own", "", hidden_size=2)),
}


@pytest.mark.parametrize("section", PLUGGED)
def test_changed_code_of_a_plug_in_is_told_where_the_config_names_it(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "plugged_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    known, spec = PLUGGED[section]
    monkeypatch.setitem(known, "own", spec)  # type: ignore[arg-type]
    own = {"name": "own"}
    sections = {section: [*TINY["variants"], own] if section == "variants" else own}
    plugins._digest.cache_clear()
    before, without = basis(**sections), basis()
    (package / "__init__.py").write_text("a = 2")
    plugins._digest.cache_clear()
    assert reason(basis(**sections), before).startswith("plugin.plugged_of_test changed ")
    assert basis() == without and "plugin" not in without


def test_without_a_verdict_there_is_something_to_do() -> None:
    assert change_since(basis(), [], "x").reason == "no version of x says what it was judged on"


def test_what_failed_is_tried_again() -> None:
    judged = {**basis(), "failed": ["gru s0", "lstm s0"]}
    assert reason(basis(), judged) == f"gru s0, lstm s0 had failed when {URI} was judged on {AT}"


@pytest.fixture(scope="module")
def tracking(workspace: Workspace) -> Tracking:
    return open_tracking(sqlite_uri(workspace.home / "mlflow.db"), MODEL, workspace.home)


@pytest.fixture(scope="module")
def config(workspace: Workspace) -> Path:
    """The config of a few shapes, on which the pipeline was run once."""
    data = {"name": "folder", "folder": str(draw(workspace.folder, ("a", "b", "c"))), "image_size": [8, 8]}
    path = workspace.config("shapes", data=data, variants=VARIANTS)
    done = workspace.rnnpipe("run", path)
    assert done.code == 0 and f"PROMOTE models:/{MODEL}/1" in done.out, done.out + done.err
    return path


def newest_flow_run(workspace: Workspace) -> dict[str, Any]:
    flows = {"name": {"any_": ["retrain"]}}
    (run,) = ask(
        str(running_url(workspace.home)), "flow_runs/filter", flows=flows, sort="START_TIME_DESC", limit=1
    )
    return run


def artifacts_of(workspace: Workspace, flow_run: dict[str, Any]) -> dict[str, str]:
    wanted = {"flow_run_id": {"any_": [flow_run["id"]]}}
    found = ask(str(running_url(workspace.home)), "artifacts/filter", artifacts=wanted)
    return {artifact["key"]: artifact["data"] for artifact in found}


def test_after_a_run_of_the_pipeline_it_skips_without_torch_and_says_why(
    workspace: Workspace, config: Path
) -> None:
    stored = {stage: workspace.manifests(stage) for stage in ("datasets", "trainings", "evaluations")}
    code = (
        "import sys\nfrom rnnpipe.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "assert 'flows.retrain' in sys.modules\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "retrain", config], cwd=workspace.folder, env=workspace.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert f"same images, config and code as models:/{MODEL}/1, judged PROMOTE on 20" in line
    assert line.startswith(f"{MODEL}  skipped: ")
    run, sentence = newest_flow_run(workspace), line.partition("skipped: ")[2]
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Skipped")
    assert run["state"]["message"] == sentence and run["name"] == "retrain shapes folder-rows"
    assert artifacts_of(workspace, run) == {f"retrain-{MODEL}": f"# Skipped\n\n{sentence}.\n"}
    assert {stage: workspace.manifests(stage) for stage in stored} == stored


def test_changed_images_are_compared_with_the_champions_and_trained_on(
    workspace: Workspace, config: Path, tracking: Tracking, call: Callable[..., Done]
) -> None:
    kept = registry.champion(tracking, MODEL)
    assert kept is not None
    for path in workspace.folder.glob("shapes/*/*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    done = call("retrain", config)
    assert done.code == 0, done.out + done.err
    assert (
        f"{MODEL}  runs: images changed " in done.out and f"since models:/{MODEL}/1 was judged on 20" in done.out
    )
    assert f"drift  major against the images of models:/{MODEL}/1: 3 of 3 classes" in done.out
    assert f" models:/{MODEL}/2: " in done.out
    page = artifacts_of(workspace, newest_flow_run(workspace))[f"drift-{MODEL}"]
    assert page.startswith("# Drift: major") and "| row 1 |" in page

    version = registry.resolve_model_uri(tracking, f"models:/{MODEL}/2")
    assert version.tags["rnnpipe.drift"].startswith("major against the images")
    path = Path(tracking.client.download_artifacts(version.run_id, "dataset/drift.json", str(workspace.folder)))
    report = DriftReport.model_validate_json(path.read_bytes())
    assert report.sentence == version.tags["rnnpipe.drift"] and report.before == report.after
    old, new = fetch_profile(tracking, kept), fetch_profile(tracking, version)
    assert old is not None and new is not None and DriftReport.of(new, old, kept.uri) == report


def test_force_judges_again_what_has_not_changed(config: Path, call: Callable[..., Done]) -> None:
    quick = ("--set", "registry.register_model=false")  # so there is a change, and it is forced all the same
    done = call("retrain", config, "--force", *quick)
    assert done.code == 0 and f"{MODEL}  runs: forced; " in done.out and "gru-8x1 s0  skipped: " in done.out


def test_a_class_that_is_gone_stops_it_before_training(
    workspace: Workspace, config: Path, call: Callable[..., Done]
) -> None:
    trainings, shapes = workspace.manifests("trainings"), workspace.folder / "shapes"
    (shapes / "b").rename(shapes / ".b")
    done = call("retrain", config)
    (shapes / ".b").rename(shapes / "b")
    assert done.code == 3 and "was trained on: b (19 images)" in done.err and "fix: " in done.err, done.err
    assert workspace.manifests("trainings") == trainings
    assert newest_flow_run(workspace)["state"]["type"] == "FAILED"


def test_a_version_without_a_profile_stops_nothing(
    config: Path, tracking: Tracking, call: Callable[..., Done]
) -> None:
    kept = registry.champion(tracking, MODEL)
    assert kept is not None
    tracking.client.delete_model_version_tag(MODEL, str(kept.number), "rnnpipe.profile_digest")
    done = call("retrain", config, "--set", "registry.register_model=false")
    assert done.code == 0 and f"drift  not known: {kept.uri} carries no profile of its images" in done.out


def test_it_goes_on_where_mlflow_is_gone(config: Path, call: Callable[..., Done]) -> None:
    away = ("--set", "registry.register_model=false", "--set", "tracking.uri=http://127.0.0.1:9")
    done = call("retrain", config, *away)
    assert done.code == 5 and "it isn't known what the last verdict was on: MLflow can't be opened" in done.out
    assert "gru-8x1 s0  skipped: " in done.out
