import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import MakeModel

from rnnpipe.errors import TrackingError
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.export import check_round_trip, log_deployed_model
from rnnpipe.tracking.registry import Candidate
from rnnpipe.tracking.runs import MetricPoint, RunSpec, log_points, start_run

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port),
        "--backend-store-uri", "sqlite:///server.db",
    ]  # fmt: skip
    bin_folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    log = (tmp_path / "server.log").open("wb")
    with log, subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as process:
        uri, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{uri}/health").is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        yield uri, process
        process.terminate()


def test_a_server_does_what_the_database_does(
    server: tuple[str, subprocess.Popen[bytes]], make_model: MakeModel, tmp_path: Path
) -> None:
    uri, process = server
    folder = make_model("gru", 1)
    tracking = open_tracking(uri, "digits-rows", tmp_path / "workspace")
    spec = RunSpec("ab", "gru", {"seed": 1}, {}, 1_700_000_000_000)
    run_id = start_run(tracking, spec)
    assert start_run(tracking, spec) == run_id
    for _ in range(2):
        log_points(tracking, run_id, [MetricPoint("test/accuracy", 0.5, 0, 1_700_000_000_000)])
    assert len(tracking.client.get_metric_history(run_id, "test/accuracy")) == 1
    model_uri = log_deployed_model(tracking, run_id, folder, step=3, tags={})
    assert check_round_trip(uri, model_uri, folder) <= 1e-5
    candidate = Candidate(model_uri, run_id, "f1", {}, "A net.")
    version = registry.register(tracking, "served", candidate)
    assert registry.register(tracking, "served", candidate) == version
    registry.promote(tracking, version)
    assert registry.champion(tracking, "served") == version
    fetched = registry.download_model(tracking, version, tmp_path / "fetched")
    assert (fetched / "model.json").read_bytes() == (folder / "model.json").read_bytes()
    process.terminate()
    process.wait(30)
    with pytest.raises(TrackingError, match="fix: "):
        registry.champion(tracking, "served")
