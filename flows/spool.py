"""Where outcomes lie that MLflow doesn't hold completely yet; known without Prefect and MLflow."""

from pathlib import Path


def spool_folder(workspace: Path) -> Path:
    """Return the folder of the outcomes that MLflow doesn't hold completely yet."""
    return workspace / "spool"


def spooled(workspace: Path) -> list[Path]:
    """Return the outcomes that MLflow doesn't hold completely yet, oldest first."""
    return sorted(spool_folder(workspace).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
