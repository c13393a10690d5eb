import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from tracking_helpers import MakeModel

from rnnpipe.errors import ConfigError, RegistrationError, TrackingError
from rnnpipe.evaluation.deploy import Deploy, load_model
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.tracking import registry, stranger, views
from rnnpipe.tracking.client import Tracking
from rnnpipe.tracking.digests import MODEL_DIGEST_TAG
from rnnpipe.tracking.export import check_round_trip, log_deployed_model
from rnnpipe.tracking.promotion import fetch_model
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import MetricPoint, RunSpec, log_points, start_run
from rnnpipe.tracking.stranger import Stranger

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def stored(tracking: Tracking, make_model: MakeModel) -> dict[str, tuple[str, str, Path]]:
    """Run id, model URI and model folder of two variants."""
    result = {}
    for variant in ("gru", "basic"):
        folder = make_model(variant, 1)
        run_id = start_run(tracking, RunSpec(f"m-{variant}", variant, {"seed": 1}, {}, START_MS))
        log_points(tracking, run_id, [MetricPoint("test/accuracy", 0.5, 0, START_MS)])
        uri = log_deployed_model(tracking, run_id, folder, step=3, tags={"rnnpipe.variant": variant})
        result[variant] = (run_id, uri, folder)
    return result


def register(tracking: Tracking, stored: tuple[str, str, Path], name: str, fingerprint: str) -> Version:
    run_id, uri, _ = stored
    return registry.register(tracking, name, Candidate(uri, run_id, fingerprint, {"seed": "1"}, "A net."))


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    found = {alias: registry.by_alias(tracking, name, alias) for alias in ("champion", "challenger", "previous")}
    return {alias: version.number for alias, version in found.items() if version}


@pytest.fixture(scope="module")
def checks(
    tracking: Tracking, stored: dict[str, tuple[str, str, Path]], make_model: MakeModel
) -> Iterator[dict[str, Future[float]]]:
    """Round trips side by side: each spends its time importing."""
    cases = {variant: (stored[variant][1], stored[variant][2]) for variant in stored}
    cases["other weights"] = (stored["basic"][1], make_model("basic", 2))
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(round_trip, tracking, *case) for name, case in cases.items()}


def round_trip(tracking: Tracking, model: str, folder: Path) -> float:
    with Stranger(tracking.uri) as found:
        return check_round_trip(found, model, folder)


def test_a_stranger_who_was_called_ahead_is_the_next_one_and_one_who_died_is_not() -> None:
    stranger.call_ahead()
    (called,) = stranger._waiting
    with Stranger("sqlite:///nowhere.db") as found:
        assert found._process is called and not stranger._waiting
    assert called.poll() is not None
    stranger.call_ahead()
    (killed,) = stranger._waiting
    killed.kill()
    killed.wait()
    with Stranger("sqlite:///nowhere.db") as found:
        assert found._process.poll() is None


def test_a_stranger_who_is_not_needed_is_sent_away() -> None:
    stranger.call_ahead()
    (called,) = stranger._waiting
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(stranger.wait_until_ready)
        stranger.send_away()
        waiting.result(timeout=20)
    stranger.forget()
    assert called.poll() is not None and not stranger._waiting


def test_who_waits_for_a_stranger_isnt_misled_by_what_imports_print(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import time; print('a line of a library'); time.sleep(0.3); print('ready', flush=True); input()"
    monkeypatch.setattr(stranger, "READ_BACK", code)
    stranger.call_ahead()
    began_s = time.monotonic()
    stranger.wait_until_ready()
    assert time.monotonic() - began_s > 0.3
    stranger.forget()


@pytest.mark.parametrize("variant", ["gru", "basic"])
def test_a_stranger_gets_the_same_probabilities(checks: dict[str, Future[float]], variant: str) -> None:
    assert checks[variant].result() <= 1e-5


@pytest.mark.slow
def test_other_weights_are_found_out(checks: dict[str, Future[float]]) -> None:
    with pytest.raises(RegistrationError, match="probabilities differ by 0"):
        checks["other weights"].result()


def test_a_model_is_stored_once_for_its_run(tracking: Tracking, stored: dict[str, tuple[str, str, Path]]) -> None:
    run_id, uri, folder = stored["gru"]
    assert log_deployed_model(tracking, run_id, folder, step=3, tags={}) == uri
    run = tracking.client.get_run(run_id)
    assert [(output.model_id, output.step) for output in run.outputs.model_outputs] == [(uri.split("/")[-1], 3)]


def test_the_stored_model_describes_itself(
    tracking: Tracking, stored: dict[str, tuple[str, str, Path]], tmp_path: Path
) -> None:
    _, uri, _ = stored["gru"]
    model = tracking.client.get_logged_model(uri.split("/")[-1])
    assert (model.name, str(model.status), model.params) == ("gru-8x2", "READY", {"seed": "1"})
    assert [(metric.key, metric.value) for metric in model.metrics] == [("test/accuracy", 0.5)]
    path = mlflow.artifacts.download_artifacts(
        model.artifact_location, dst_path=str(tmp_path), tracking_uri=tracking.uri
    )
    described = mlflow.models.Model.load(path)
    assert described.metadata["classes"] == ["zero", "one", "two"]
    assert described.signature.inputs.inputs[0].shape == (-1, 8, 6)
    assert described.signature.outputs.inputs[0].shape == (-1, 3)
    requirements = Path(path, "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "torch", "numpy"}
    assert not any("+" in line for line in requirements)
    assert not any(file.suffix in {".pkl", ".pth"} for file in Path(path).rglob("*"))


def test_a_model_that_does_not_load_is_refused(tracking: Tracking, tmp_path: Path, make_model: MakeModel) -> None:
    with pytest.raises(RegistrationError, match="can't be used without rnnpipe"):
        round_trip(tracking, str(tmp_path), make_model("basic", 1))


def test_registering_twice_gives_one_version(tracking: Tracking, stored: dict[str, tuple[str, str, Path]]) -> None:
    first = register(tracking, stored["gru"], "twice", "f1")
    assert register(tracking, stored["gru"], "twice", "f1") == first
    assert (first.number, first.uri, first.run_id) == (1, "models:/twice/1", stored["gru"][0])
    assert (first.model_uri, first.description, first.tags["seed"]) == (stored["gru"][1], "A net.", "1")
    assert register(tracking, stored["basic"], "twice", "f2").number == 2
    model = tracking.client.get_logged_model(first.model_uri.split("/")[-1])
    assert {"name": "twice", "version": 1} in json.loads(model.tags["mlflow.modelVersions"])


def test_promotion_moves_the_aliases(tracking: Tracking, stored: dict[str, tuple[str, str, Path]]) -> None:
    assert registry.champion(tracking, "moved") is None
    first = register(tracking, stored["gru"], "moved", "f1")
    second = register(tracking, stored["basic"], "moved", "f2")
    assert registry.champion(tracking, "moved") is None
    assert registry.promote(tracking, first, None)
    registry.set_challenger(tracking, second)
    assert aliases(tracking, "moved") == {"champion": 1, "challenger": 2}
    for _ in range(2):
        assert registry.promote(tracking, second, 1)
        assert aliases(tracking, "moved") == {"champion": 2, "previous": 1}


def test_references_name_versions(tracking: Tracking, stored: dict[str, tuple[str, str, Path]]) -> None:
    first = register(tracking, stored["gru"], "named", "f1")
    register(tracking, stored["basic"], "named", "f2")
    assert registry.promote(tracking, first, None)
    for text in ("named", "models:/named@champion", "models:/named/1", "named/1"):
        assert registry.resolve_model_uri(tracking, text) == first
    for text in ("named@previous", "named/3", "nobody", "it's"):
        with pytest.raises(TrackingError, match="fix: "):
            registry.resolve_model_uri(tracking, text)
    for text in ("", "named/", "named/x", "named@", "s3://named", "models:/a/b/c"):
        with pytest.raises(ConfigError, match="names no model"):
            registry.resolve_model_uri(tracking, text)


def test_a_version_gives_back_the_very_files(
    tracking: Tracking, stored: dict[str, tuple[str, str, Path]], tmp_path: Path
) -> None:
    version = register(tracking, stored["gru"], "fetched", "f1")
    fetched = registry.download_model(tracking, version, tmp_path / "new" / "folder")
    assert sorted(path.name for path in fetched.iterdir()) == sorted(MODEL_FILES)
    for name in MODEL_FILES:
        assert (fetched / name).read_bytes() == (stored["gru"][2] / name).read_bytes()
    assert Deploy(*load_model(fetched))(torch.zeros(1, 8, 6)).shape == (1, 3)


def test_damaged_artifacts_are_told(tracking: Tracking, make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model("basic", 5)
    run_id = start_run(tracking, RunSpec("m-damaged", "basic", {}, {}, START_MS))
    uri = log_deployed_model(tracking, run_id, folder, step=0, tags={})
    version = register(tracking, (run_id, uri, folder), "damaged", "f1")
    kept = tracking.lock_path.parent / "artifacts" / "digits-rows" / "models" / uri.split("/")[-1]
    shutil.copy(make_model("basic", 6) / "weights.safetensors", kept / "artifacts" / "extra_files")
    with pytest.raises(TrackingError, match="not those that were registered"):
        registry.download_model(tracking, version, tmp_path)
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(kept)
    with pytest.raises(TrackingError, match="can't fetch"):
        registry.download_model(tracking, version, tmp_path)


@pytest.mark.parametrize("digest", ["", "../../elsewhere", "/elsewhere", "0" * 63, "0" * 64 + "\n", "G" * 64])
def test_a_digest_that_is_none_names_no_folder(
    tracking: Tracking, stored: dict[str, tuple[str, str, Path]], tmp_path: Path, digest: str
) -> None:
    version = register(tracking, stored["gru"], "fetched", "f1")
    odd = dataclasses.replace(version, tags={**version.tags, MODEL_DIGEST_TAG: digest})
    with pytest.raises(TrackingError, match="has no digest of its files"):
        fetch_model(tracking, odd, tmp_path / "home")
    assert list(tmp_path.iterdir()) == []
    assert fetch_model(tracking, version, tmp_path / "home").parent == tmp_path / "home" / "models"


def test_the_registered_model_loads_with_mlflow_alone(
    tracking: Tracking, stored: dict[str, tuple[str, str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(tracking, stored["gru"], "served", "f1")
    assert registry.promote(tracking, version, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pyfunc.load_model("models:/served@champion", model_config={"device": "cpu"})
    probabilities_NK = model.predict(np.zeros((5, 8, 6), np.float32))
    assert probabilities_NK.sum(axis=1) == pytest.approx(1)


def test_the_comparison_view_ranks_by_test_accuracy(tracking: Tracking) -> None:
    views.save_comparison_view(tracking, ["variant.name", "seed"])
    tags = tracking.client.get_experiment(tracking.experiment_id).tags
    state = json.loads(tags["mlflow.sharedViewState.rnnpipe-compare"])
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`test/accuracy_pct`", False)
    assert state["selectedColumns"][:2] == ["params.`variant.name`", "params.`seed`"]


def test_page_addresses() -> None:
    base = "http://localhost:5000/"
    assert views.comparison_url(base, "7") == (
        "http://localhost:5000/#/experiments/7/runs?viewStateShareKey=rnnpipe-compare"
        "&workflowType=machine_learning"
    )
    assert views.run_url(base, "7", "ab").startswith("http://localhost:5000/#/experiments/7/runs/ab?")
    assert views.model_version_url(base, "my model", 3).startswith(
        "http://localhost:5000/#/models/my%20model/versions/3?"
    )
