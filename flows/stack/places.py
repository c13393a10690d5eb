"""Where the services of the stack are: on loopback, or where the environment says, as it does in containers."""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from rnnpipe.store import workspace_root


@dataclass(frozen=True)
class Places:
    """Addresses are host:port, as clients reach them; each field can be set as RNNPIPE_FIELD."""

    listen: str = "127.0.0.1"
    postgres: str = "127.0.0.1:5432"
    prefect: str = "127.0.0.1:4200"
    mlflow: str = "127.0.0.1:5000"
    prefect_page: str = "http://127.0.0.1:4200"  # as a browser reaches it
    secrets: str = ""

    @property
    def folder(self) -> Path:
        """Where each service has a folder of its own."""
        return workspace_root() / "stack"

    def port_of(self, name: str) -> int:
        """Return the port of a service."""
        return int(getattr(self, name).rpartition(":")[2])

    def variables(self) -> dict[str, str]:
        """Return the environment variables that say the same."""
        return {variable_of(field.name): getattr(self, field.name) for field in fields(self)}


def variable_of(name: str) -> str:
    """Return the environment variable of a field."""
    return f"RNNPIPE_{name.upper()}"


def places_of_environment() -> Places:
    """Return the places that the environment names."""
    named = {field.name: os.environ.get(variable_of(field.name)) for field in fields(Places)}
    places = {"secrets": str(workspace_root() / "stack" / "secrets")}
    return Places(**places | {name: value for name, value in named.items() if value})
