"""MLflow as the commands that read the registry find it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnpipe.tracking.client import Tracking
    from rnnpipe.tracking.registry import Version


def open_registry() -> "tuple[Tracking, Path]":
    """Return the MLflow of MLFLOW_TRACKING_URI, else of the workspace, and the workspace."""
    from rnnpipe.files import SCRATCH, sweep_temporaries
    from rnnpipe.store import workspace_root
    from rnnpipe.tracking.addresses import resolve_uri
    from rnnpipe.tracking.client import open_tracking

    sweep_temporaries(Path(tempfile.gettempdir()), SCRATCH)  # of commands that were killed
    workspace = workspace_root()
    return open_tracking(resolve_uri(None, workspace), None, workspace), workspace


def find_version(tracking: "Tracking", model: str | None) -> "Version":
    """Return the version that a text means; without one, the champion of the only model that has one.

    ConfigError where that is none or several.
    """
    from rnnpipe.errors import ConfigError
    from rnnpipe.tracking.history import read_models
    from rnnpipe.tracking.registry import resolve_model_uri

    if model is not None:
        return resolve_model_uri(tracking, model)
    names = [each.name for each in read_models(tracking) if "champion" in each.aliases]
    if not names:
        raise ConfigError(
            "no model is registered yet", "`rnnpipe run configs/quickstart.yaml` makes the first one"
        )
    if len(names) > 1:
        raise ConfigError(
            f"several models are registered: {', '.join(names)}", f"say which one, such as {names[0]}"
        )
    return resolve_model_uri(tracking, names[0])
