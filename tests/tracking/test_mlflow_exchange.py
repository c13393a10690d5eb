"""The exchange in MLflow's artifact store, through the proxy of a real server."""

from pathlib import Path

import pytest
from tracking_helpers import mlflow_server

from rnnpipe.errors import ConfigError, DataError
from rnnpipe.files import sha256_file
from rnnpipe.nodes import open_exchange
from rnnpipe.tracking.exchange import MlflowPlace

PLACE = "trainings/ab/output"


def test_without_a_server_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(ConfigError, match="mlflow-artifacts:/rnnpipe") as found:
        MlflowPlace("mlflow-artifacts:/rnnpipe")
    assert "MLFLOW_TRACKING_URI" in found.value.fix


@pytest.mark.slow
def test_what_is_left_with_a_server_is_fetched_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "log").mkdir(parents=True)
    (source / "weights").write_bytes(bytes(range(256)) * 100)
    (source / "log/journal").touch()
    with mlflow_server(tmp_path) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        exchange = open_exchange("mlflow-artifacts:/rnnpipe")
        assert exchange.find(PLACE) is None and exchange.folders("trainings") == []
        listings = []
        for number in range(3):
            (source / "log/journal").write_text("line\n" * number)
            listings.append(exchange.put(PLACE, source, ["weights", "log/journal"], {"number": number}))
        assert exchange.find(PLACE) == listings[-1] and exchange.folders("trainings/ab") == ["output"]
        exchange.fetch(PLACE, listings[-1], target)
        assert {name: sha256_file(target / name) for name in listings[-1].files} == listings[-1].files
        with pytest.raises(DataError, match="log/journal isn't there any more"):
            exchange.fetch(PLACE, listings[0], target)
        exchange.remove("trainings/ab")
        exchange.remove("trainings/ab")
        assert exchange.find(PLACE) is None
