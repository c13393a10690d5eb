"""Becoming a service of the stack: secrets checked, files written, then its command takes over this process."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from flows.stack.places import Places, places_of_environment
from flows.stack.secret_files import read_secret
from flows.stack.services import SERVICES, filled
from rnnpipe.files import write_bytes
from rnnpipe.store import workspace_root


def become(name: str, instead: Sequence[str] = ()) -> NoReturn:
    """Replace this process by a service, or by another command with the service's settings and secrets.

    RnnpipeError where a secret is missing or no secret at all.
    """
    places = places_of_environment(workspace_root())
    environment = _environment_of(name, places)
    for path, content in SERVICES[name].files.items():
        write_bytes(Path(filled(path, places)), filled(content, places).encode())
    command = list(instead) or [filled(part, places) for part in SERVICES[name].command]
    os.execvpe(command[0], command, environment)  # noqa: S606 (no shell is wanted)


def _environment_of(name: str, places: Places) -> dict[str, str]:
    """Return a service's environment: its settings, what is set already before them, and the secrets."""
    service = SERVICES[name]
    settings = {variable: filled(value, places) for variable, value in service.settings.items()}
    secrets = {variable: read_secret(places.secrets, secret) for variable, secret in service.secrets.items()}
    return {**settings, **os.environ, **places.variables(), **secrets}
