"""What a person decides about a registered model: a version is promoted, or the one before comes back.

The version is loaded in a clean process and tested before any alias moves.
"""

import time
from dataclasses import dataclass

from rnnpipe.errors import RegistrationError
from rnnpipe.evaluation.promotion import Decision
from rnnpipe.evaluation.spec import MODEL_FILES
from rnnpipe.files import scratch_folder
from rnnpipe.tracking import registry
from rnnpipe.tracking.client import Tracking, download, mlflow_errors, retried
from rnnpipe.tracking.digests import model_digest, registered_digest
from rnnpipe.tracking.history import DECIDED_TAG
from rnnpipe.tracking.promotion import DECISION_TAG, REASON_TAG
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.stranger import Stranger

MAX_REASON_CHARACTERS = 1000
UNMOVED = "nothing was moved"


@dataclass(frozen=True)
class Move:
    """The champion that is, and the one that was; the same where nothing moved."""

    champion: Version
    before: Version | None

    @property
    def text(self) -> str:
        """What moved, in words."""
        if self.before == self.champion:
            return f"{self.champion.uri} is the champion already; {UNMOVED}"
        previous = f"; previous: {self.before.uri}" if self.before else ""
        return f"champion: {self.before.uri if self.before else 'none'} → {self.champion.uri}{previous}"


def promote_by_hand(tracking: Tracking, version: Version, reason: str, *, anyway: bool = False) -> Move:
    """Make a version the champion once it has stood the test, and write on it who decided and why.

    RegistrationError where its verdict is REJECT (unless `anyway`), or where it doesn't stand the test.
    """
    before = registry.champion(tracking, version.name)
    if before is not None and before.number == version.number:
        return Move(before, before)
    is_rejected = version.tags.get(DECISION_TAG) == Decision.REJECT
    if is_rejected and not anyway:
        raise RegistrationError(
            f"{version.uri} was rejected: {version.tags.get(REASON_TAG, 'no reason stands on it')}",
            "promote another version; or this one with --anyway, which is written on it",
        )
    check_version(tracking, version)
    against = " against its verdict REJECT" if is_rejected else ""
    return _move(tracking, version, before, f"promoted by hand{against}, {_when_and_why(reason)}")


def roll_back(tracking: Tracking, model_name: str, reason: str) -> Move:
    """Make `previous` the champion once it has stood the test, and the champion `previous`.

    RegistrationError where there is no previous champion, or where it doesn't stand the test.
    """
    version = registry.by_alias(tracking, model_name, "previous")
    if version is None:
        raise RegistrationError(
            f"{model_name} has no previous champion",
            f"it comes into being when a second version is promoted; see `rnnpipe champions {model_name}`",
        )
    before = registry.champion(tracking, model_name)
    if before is not None and before.number == version.number:  # a promotion was killed between its two steps
        return Move(before, before)
    check_version(tracking, version)
    return _move(tracking, version, before, f"rolled back to by hand, {_when_and_why(reason)}")


@retried
def check_version(tracking: Tracking, version: Version) -> float:
    """Load a version in a clean process and compare it with its weights; pickle is forbidden there.

    Returns the largest difference of any probability; RegistrationError where its files aren't those that were
    registered, don't load, or predict otherwise.
    """
    from rnnpipe.tracking.export import check_round_trip  # brings torch

    digest = registered_digest(version.uri, version.tags)
    with Stranger(tracking.uri) as stranger, scratch_folder() as folder:
        with mlflow_errors(f"fetch the files of {version.uri}"):
            source = tracking.client.get_model_version_download_uri(version.name, str(version.number))
            stored = download(tracking, source, folder)
        carried = stored / "extra_files"
        if not all((carried / name).is_file() for name in MODEL_FILES) or model_digest(carried) != digest:
            raise RegistrationError(
                f"the files of {version.uri} are not those that were registered; {UNMOVED}",
                "the artifact store is damaged: restore it, or choose another version",
            )
        try:
            return check_round_trip(stranger, str(stored), carried)
        except RegistrationError as error:
            raise RegistrationError(
                f"{version.uri} doesn't stand the test, and {UNMOVED}: {error.message}",
                "choose another version, and see `pip check` for torch and mlflow",
            ) from error


def _move(tracking: Tracking, version: Version, before: Version | None, decided: str) -> Move:
    """Move the alias if the champion still is the one that was seen; write first on the version who decided."""
    if not _decide(tracking, version, before, decided):
        raise RegistrationError(
            f"{version.name} has got another champion meanwhile, and {UNMOVED}",
            f"look at it with `rnnpipe champions {version.name}`, then decide again",
        )
    return Move(version, before)


@retried
def _decide(tracking: Tracking, version: Version, before: Version | None, decided: str) -> bool:
    client, number = tracking.client, str(version.number)
    with mlflow_errors(f"write on {version.uri}"):
        client.set_model_version_tag(version.name, number, DECIDED_TAG, decided)
    if registry.promote(tracking, version, before.number if before else None):
        return True
    with mlflow_errors(f"write on {version.uri}"):
        client.set_model_version_tag(version.name, number, DECIDED_TAG, version.tags.get(DECIDED_TAG, ""))
    return False


def _when_and_why(reason: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"{when}, reason: {reason[:MAX_REASON_CHARACTERS]}" if reason else f"{when}, no reason given"
