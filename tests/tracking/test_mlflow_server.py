from pathlib import Path

import pytest
from tracking_helpers import MakeModel, mlflow_server

from rnnpipe.errors import TrackingError
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.export import check_round_trip, log_deployed_model
from rnnpipe.tracking.registry import Candidate
from rnnpipe.tracking.runs import MetricPoint, RunSpec, log_points, start_run
from rnnpipe.tracking.stranger import Stranger

pytestmark = pytest.mark.slow


def test_a_server_does_what_the_database_does(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model("gru", 1)
    with mlflow_server(tmp_path) as (uri, process):
        track_and_register(uri, folder, tmp_path)
        tracking = open_tracking(uri, "digits-rows", tmp_path / "workspace")
        process.terminate()
        process.wait(30)
        with pytest.raises(TrackingError, match="fix: "):
            registry.champion(tracking, "served")


def track_and_register(uri: str, folder: Path, tmp_path: Path) -> None:
    tracking = open_tracking(uri, "digits-rows", tmp_path / "workspace")
    spec = RunSpec("ab", "gru", {"seed": 1}, {}, 1_700_000_000_000)
    run_id = start_run(tracking, spec)
    assert start_run(tracking, spec) == run_id
    for _ in range(2):
        log_points(tracking, run_id, [MetricPoint("test/accuracy", 0.5, 0, 1_700_000_000_000)])
    assert len(tracking.client.get_metric_history(run_id, "test/accuracy")) == 1
    model_uri = log_deployed_model(tracking, run_id, folder, step=3, tags={})
    with Stranger(uri) as stranger:
        assert check_round_trip(stranger, model_uri, folder) <= 1e-5
    candidate = Candidate(model_uri, run_id, "f1", {}, "A net.")
    version = registry.register(tracking, "served", candidate)
    assert registry.register(tracking, "served", candidate) == version
    assert registry.promote(tracking, version, None)
    assert registry.champion(tracking, "served") == version
    fetched = registry.download_model(tracking, version, tmp_path / "fetched")
    assert (fetched / "model.json").read_bytes() == (folder / "model.json").read_bytes()
