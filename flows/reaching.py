"""Whether Prefect's API can be used: its health page answers without a login, and also where all else fails."""

import contextlib
import os

import httpx

from flows.environment import HEALTH_PATH
from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ServiceError

TIMEOUT_S = 5.0
REFUSED = {401, 403}
OF_THE_USER = "start that server, or unset PREFECT_API_URL to use one of the workspace"


def answers(url: str) -> bool:
    """Say whether a Prefect server answers at this API URL."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url + HEALTH_PATH, timeout=TIMEOUT_S).is_success
    return False


def check_api(url: str, fix: str) -> None:
    """Ask the API for something that needs a login, where there is one; ServiceError where it can't be used."""
    login = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
    auth = (login[0], login[2]) if login[1] else None
    try:
        httpx.get(url + HEALTH_PATH, timeout=TIMEOUT_S).raise_for_status()
        status = httpx.get(f"{url}/admin/version", timeout=TIMEOUT_S, auth=auth).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = type(error).__name__
        raise ServiceError(f"no Prefect server answers at {mask_credentials(url)} ({kind})", fix) from None
    if status in REFUSED:
        raise ServiceError(
            f"the Prefect server at {mask_credentials(url)} refuses this user ({status})",
            "set PREFECT_API_AUTH_STRING to user:password",
        )
    if status >= httpx.codes.BAD_REQUEST:
        raise ServiceError(f"the Prefect server at {mask_credentials(url)} answers with {status}", fix)


def problem_of(url: str) -> ServiceError | None:
    """Return why the API can't be used any more, or None where it can."""
    try:
        check_api(url, "see its output")
    except ServiceError as problem:
        return problem
    return None
