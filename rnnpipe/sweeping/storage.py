"""Where Optuna keeps the trials: SQLite in the workspace, or the Postgres that an environment variable names.

Values and states stand there as rows and JSON; no sampler or pruner is stored, so nothing is pickled.
"""

import contextlib
import functools
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from filelock import FileLock

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import ConfigError, StorageError
from rnnpipe.files import digest_of, scratch_folder, write_bytes
from rnnpipe.holding import hold

STORAGE_VARIABLE = "RNNPIPE_SWEEP_STORAGE"
DATABASE_NAME = "sweeps.db"
SQLITE, POSTGRES, DRIVER = "sqlite:///", "postgresql://", "postgresql+psycopg://"
WAIT_S = 60  # for another writer of the same SQLite file
MAX_REASON_CHARACTERS = 300

logger = logging.getLogger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")


def check_storage(workspace: Path) -> str:
    """Return the address of the storage; ConfigError where that can't be one, or what it needs isn't installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("a sweep needs optuna, which isn't installed", "pip install 'rnnpipe[sweep]'")
    given = os.environ.get(STORAGE_VARIABLE, "")
    url = given or f"{SQLITE}{workspace / DATABASE_NAME}"
    if url.startswith((POSTGRES, DRIVER)):
        if importlib.util.find_spec("psycopg") is None:
            raise ConfigError("Postgres needs psycopg, which isn't installed", "pip install 'rnnpipe[server]'")
        return url.replace(POSTGRES, DRIVER, 1)
    if not url.startswith(SQLITE) or any(character in url for character in "?{}"):
        raise ConfigError(
            f"{STORAGE_VARIABLE if given else 'the workspace'}: no sweep can be kept at {mask_credentials(url)}",
            "give postgresql://USER:PASSWORD@HOST/DATABASE, or sqlite:///PATH without ?, { and }",
        )
    return f"{SQLITE}{Path(url.removeprefix(SQLITE)).expanduser().resolve()}"


def open_storage(url: str) -> Any:
    """Return Optuna's storage at an address that `check_storage` gave; its tables are made where there are none.

    StorageError where it can't be reached or used.
    """
    with storage_errors(url):
        if url.startswith(SQLITE):
            path = Path(url.removeprefix(SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():  # whole or not at all, as a kill may come between any two tables
                    with scratch_folder(path.parent) as folder:
                        _storage(f"{SQLITE}{folder / path.name}").engine.dispose()
                        write_bytes(path, folder.joinpath(path.name).read_bytes())
        try:
            return _storage(url)
        except RuntimeError as error:  # tables of another Optuna
            raise StorageError(
                f"the sweep's storage {mask_credentials(url)} can't be used: {' '.join(str(error).split())}",
                f"use the Optuna that made it, or another storage ({STORAGE_VARIABLE})",
            ) from None


def _storage(url: str) -> Any:
    import optuna

    optuna.logging.disable_default_handler()  # what happens is told by the run
    optuna.logging.enable_propagation()
    logging.getLogger("optuna").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    arguments = {"connect_args": {"timeout": WAIT_S}} if url.startswith(SQLITE) else {"pool_pre_ping": True}
    return optuna.storages.RDBStorage(url, engine_kwargs=arguments)


@contextlib.contextmanager
def hold_sweep(storage: Any, name: str) -> Iterator[Callable[[], object]]:
    """Hold a sweep for the length of the block; if another process does, say so and wait. Any death lets go.

    So a trial that counts as running when a sweep is opened is one that was killed. Yields a check that raises
    what SQLAlchemy does where Postgres is no longer reached by the connection that holds it.
    """
    engine = storage.engine
    if engine.dialect.name == "sqlite":
        with hold(FileLock(f"{engine.url.database}.{name}.lock"), f"the sweep {name}"):
            yield lambda: None
        return
    from sqlalchemy import func, select

    key = int(digest_of({"rnnpipe sweep": name})[:15], 16)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(select(func.pg_try_advisory_lock(key))):
            logger.warning("another process is at work on the sweep %s; this run waits and uses the result", name)
            connection.execute(select(func.pg_advisory_lock(key)))
        try:
            yield lambda: connection.scalar(select(1))
        finally:
            with contextlib.suppress(Exception):  # a connection that is lost has let go
                connection.execute(select(func.pg_advisory_unlock(key)))


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn what Optuna and its database raise into a StorageError that shows no password."""
    import optuna
    import sqlalchemy.exc

    try:
        yield
    except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        text = " ".join(str(getattr(cause, "orig", None) or cause or error).split())
        reason = mask_credentials(text)[:MAX_REASON_CHARACTERS]
        raise StorageError(
            f"the sweep's storage {mask_credentials(url)} can't be used: {reason}",
            f"see that it can be reached and written ({STORAGE_VARIABLE}); the same command goes on from there",
        ) from None


def guarded(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a method of a class with `lock` and `url` be called by one thread at a time, with errors in words."""

    @functools.wraps(method)
    def call(*given: Given.args, **named: Given.kwargs) -> Result:
        owner: Any = given[0]
        with owner.lock, storage_errors(owner.url):
            return method(*given, **named)

    return call
