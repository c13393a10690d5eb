from pathlib import Path

import pytest

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import TrackingError
from rnnpipe.tracking.addresses import resolve_uri


def test_config_comes_before_environment_and_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000/")
    assert resolve_uri(None, tmp_path) == "http://mlflow:5000"
    assert resolve_uri("https://other", tmp_path) == "https://other"


def test_relative_database_means_the_same_file_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///runs.db", tmp_path) == f"sqlite:///{tmp_path}/runs.db"


@pytest.mark.parametrize(
    "uri",
    [
        "file:///srv/mlruns",
        "mlruns",
        "./mlruns",
        "databricks",
        "sqlite:///",
        "sqlite://",
        "http://",
        "http://[1",
        "https://[x]/",
    ],
)
def test_other_stores_are_refused_with_a_fix(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"fix: .*sqlite:////"):
        resolve_uri(uri, tmp_path)


@pytest.mark.parametrize("name", ["50%", "what?"])
def test_path_that_no_uri_can_name_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match="fix: use a path without"):
        resolve_uri(None, tmp_path / name)


def test_credentials_are_masked() -> None:
    assert mask_credentials("http://me:p@ss@host:1/x") == "http://***@host:1/x"
    assert mask_credentials("http://host/a@b") == "http://host/a@b"
    with pytest.raises(TrackingError) as caught:
        resolve_uri("postgresql://me:secret@host/runs", Path())
    assert "secret" not in str(caught.value)
