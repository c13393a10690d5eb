"""MLflow as the commands that read the registry find it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnpipe.tracking.client import Tracking


def open_registry() -> "tuple[Tracking, Path]":
    """Return the MLflow of MLFLOW_TRACKING_URI, else of the workspace, and the workspace."""
    from rnnpipe.files import SCRATCH, sweep_temporaries
    from rnnpipe.store import workspace_root
    from rnnpipe.tracking.addresses import resolve_uri
    from rnnpipe.tracking.client import open_tracking

    sweep_temporaries(Path(tempfile.gettempdir()), SCRATCH)  # of commands that were killed
    workspace = workspace_root()
    return open_tracking(resolve_uri(None, workspace), None, workspace), workspace
