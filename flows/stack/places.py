"""Where the services of the stack are: on loopback, or where the environment says, as it does in containers."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

EVERYWHERE = "0.0.0.0"  # noqa: S104 (it is told so, inside containers)
NAMED = ("secrets", "listen", "postgres", "prefect", "mlflow", "prefect_page", "mlflow_page")
VARIABLES = {name: f"RNNPIPE_{name.upper()}" for name in NAMED}


@dataclass(frozen=True)
class Places:
    """Folders and addresses; an address is host:port, as clients reach it."""

    folder: Path  # each service has one of its own in it
    secrets: Path
    listen: str = "127.0.0.1"
    postgres: str = "127.0.0.1:54320"  # 5432 is that of the system's own
    prefect: str = "127.0.0.1:4200"
    mlflow: str = "127.0.0.1:5000"
    prefect_page: str = "http://127.0.0.1:4200"  # as browsers and other machines reach it
    mlflow_page: str = "http://127.0.0.1:5000"

    @property
    def mlflow_host(self) -> str:
        """How browsers and other machines call MLflow; it refuses other names."""
        return urlsplit(self.mlflow_page).netloc

    @property
    def asked(self) -> str:
        """The address at which a server is reached on its own machine."""
        return "127.0.0.1" if self.listen == EVERYWHERE else self.listen

    def port_of(self, name: str) -> int:
        """Return the port of a service."""
        return int(getattr(self, name).rpartition(":")[2])

    def variables(self) -> dict[str, str]:
        """Return the environment variables that say the same."""
        return {variable: str(getattr(self, name)) for name, variable in VARIABLES.items()}


def places_of_environment(workspace: Path) -> Places:
    """Return the places of a workspace's stack, with those that the environment names instead."""
    named = {name: os.environ[variable] for name, variable in VARIABLES.items() if os.environ.get(variable)}
    folder = workspace / "stack"
    secrets = Path(named.pop("secrets", folder / "secrets")).absolute()
    return Places(folder, secrets, **named)
