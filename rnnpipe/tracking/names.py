"""The names of registered models, as a shell completes them: a Tab can't wait for MLflow to be imported."""

import sqlite3
from contextlib import closing
from pathlib import Path

from rnnpipe.errors import TrackingError
from rnnpipe.tracking.addresses import is_server, resolve_uri, sqlite_path


def registered_names(workspace: Path) -> list[str]:
    """Return the names in MLflow's SQLite file, sorted; none where MLflow is a server, or it can't be read."""
    try:
        uri = resolve_uri(None, workspace)
        if is_server(uri):
            return []
        with closing(sqlite3.connect(f"file:{sqlite_path(uri)}?mode=ro", uri=True, timeout=1)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM registered_models ORDER BY name")]
    except (TrackingError, sqlite3.Error, OSError):
        return []
