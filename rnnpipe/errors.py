"""The errors rnnpipe raises for its users, and the exit code each ends the command line with.

    RnnpipeError                1
    ├── ConfigError             2   a config, an override or an argument is wrong
    ├── DataError               3   a dataset can't be had, or is not what it should be
    │   └── DownloadError       3   no mirror has it; another try may find one
    ├── TrainingError           4   a training stopped: not finite, pre-flight, time-out, killed
    │   └── ClusterError        4   the cluster it was to run on can't do it, or a node of it
    ├── TrackingError           5   MLflow can't be reached or refuses
    │   └── RegistrationError   5   a model didn't pass the checks before it is registered
    ├── ServiceError            6   the Prefect server (or a page) can't be started or reached
    ├── DeviceError             7   the device asked for isn't there, or another run holds it
    └── StorageError            8   the disk is full, or can't be written

Each carries the sentence that says what is wrong and the one that says what to do about it.
"""

import errno


class RnnpipeError(Exception):
    """An error with a cause a user can act on; printed without a traceback."""

    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message if not fix else f"{message}\n  fix: {fix}")
        self.message = message
        self.fix = fix

    @property
    def record(self) -> dict[str, str]:
        """What another process needs to raise it again: see `remade`. The kind is one of this module's."""
        kind = next(each.__name__ for each in type(self).__mro__ if each.__module__ == __name__)
        return {"type": kind, "message": self.message, "fix": self.fix}


class ConfigError(RnnpipeError):
    """A config, an override or an argument is wrong."""

    exit_code = 2


class DataError(RnnpipeError):
    """A dataset can't be had, or is not what it should be."""

    exit_code = 3


class DownloadError(DataError):
    """No mirror has a file as it should be; another try may find one."""


class TrainingError(RnnpipeError):
    """A training stopped before its end."""

    exit_code = 4


class ClusterError(TrainingError):
    """The cluster that a training was to run on can't do it, or a node of it; the training isn't to blame."""


class TrackingError(RnnpipeError):
    """MLflow can't be reached, or refuses."""

    exit_code = 5


class RegistrationError(TrackingError):
    """A model didn't pass the checks that come before registration."""


class ServiceError(RnnpipeError):
    """A server that rnnpipe needs can't be started or reached."""

    exit_code = 6


class DeviceError(RnnpipeError):
    """The device that was asked for isn't there, or another run holds it and this one isn't to wait."""

    exit_code = 7


class StorageError(RnnpipeError):
    """The disk is full, or can't be written."""

    exit_code = 8


def remade(kind: str, message: str, fix: str, unknown: type[RnnpipeError] = RnnpipeError) -> RnnpipeError:
    """Return the error that another process has left as a record; of a kind that isn't known here, `unknown`."""
    found: type[RnnpipeError] = globals().get(kind, unknown)
    return found(message, fix)


UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def explained(error: BaseException) -> BaseException:
    """Return the StorageError that an error of the operating system means, if it does; else the error itself."""
    if not isinstance(error, OSError) or error.errno not in UNWRITABLE:
        return error
    place = f"{error.filename}: " if error.filename else ""
    return StorageError(
        f"{place}{(error.strerror or 'can not be written').lower()}",
        "make room, or make it writable for this user; the same command goes on from there",
    )
