"""An exchange in MLflow's artifact store, through the server's proxy: the server alone holds the store's keys."""

import contextlib
import shutil
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ConfigError
from rnnpipe.files import scratch_folder

NOT_FOUND = 404


class MlflowPlace:
    """A folder of an MLflow server's artifacts; MLFLOW_TRACKING_URI names the server, and has its login."""

    def __init__(self, uri: str) -> None:
        """Open mlflow-artifacts:/PATH; ConfigError where no MLflow server is named."""
        try:
            self._artifacts = get_artifact_repository(uri)
        except MlflowException as error:
            raise ConfigError(
                f"the exchange {mask_credentials(uri)} can't be used:"
                f" {mask_credentials(error.message.splitlines()[0])}",
                "set MLFLOW_TRACKING_URI to the http address of an MLflow server, on every machine",
            ) from None

    def put(self, path: Path, name: str) -> None:
        """Leave a file there; MLflow's server takes it whole before it puts it in its place."""
        folder, _, last = name.rpartition("/")
        with scratch_folder() as scratch:
            shutil.copyfile(path, scratch / last)
            self._artifacts.log_artifact(str(scratch / last), folder)  # type: ignore[no-untyped-call]

    def get(self, name: str, path: Path) -> None:
        """Copy a file from there to `path`."""
        with scratch_folder() as scratch:
            try:
                found = self._artifacts.download_artifacts(name, str(scratch))  # type: ignore[no-untyped-call]
            except Exception as error:  # of MLflow, of its http library, of the disk
                folder, _, last = name.rpartition("/")
                if _is_missing(error) or last not in self.names(folder):
                    raise FileNotFoundError(name) from None
                raise
            shutil.move(found, path)

    def names(self, folder: str) -> list[str]:
        """Return the last parts of the names below a folder; none where it isn't there."""
        try:
            return [each.path.rpartition("/")[2] for each in self._artifacts.list_artifacts(folder)]
        except Exception as error:
            if _is_missing(error):
                return []
            raise

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; do nothing where it isn't there."""
        with contextlib.suppress(FileNotFoundError):
            try:
                self._artifacts.delete_artifacts(name)  # type: ignore[no-untyped-call]
            except Exception as error:
                if not _is_missing(error):
                    raise


def _is_missing(error: Exception) -> bool:
    """Say whether it means that there is no such file or folder."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "get_http_status_code", lambda: None)()
    return status == NOT_FOUND
