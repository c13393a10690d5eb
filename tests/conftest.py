"""One workspace with a Prefect server that stays up, for all tests that run flows; a first run in it."""

import gc
import importlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import pytest
from workspaces import Done, Workspace

from flows.environment import set_defaults
from flows.server import keep_server, stop_server
from rnnpipe.cli import main

Call = Callable[..., Done]
ONE_WORKSPACE = {"flows", "cli"}


def pytest_configure() -> None:
    """Let Ctrl-C reach the commands that are tested, also where a shell started this in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one of the test processes, and all that use the one workspace in one.

    The campaign's parts share nothing. Whoever begins with what takes longest, its kills and the workspace, ends
    soonest.
    """
    for item in items:
        folder = item.path.parent.name
        group = item.nodeid if folder == "campaign" else str(item.path)
        item.add_marker(pytest.mark.xdist_group("workspace" if _in_workspace(item) else group))
    items.sort(key=lambda item: (item.path.name != "test_faults.py", not _in_workspace(item)))


def _in_workspace(item: pytest.Item) -> bool:
    return item.path.parent.name in ONE_WORKSPACE and "workspace" in getattr(item, "fixturenames", ())


@pytest.fixture
def threads_as_before() -> Iterator[None]:
    """Give the process back the threads it had, and torch the use of them."""
    from rnnpipe.runtime import give_threads_to_kernels, num_threads, set_threads  # brings torch

    before = num_threads()
    yield
    give_threads_to_kernels(False)
    set_threads(before)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose Prefect server is up; its folder's name has a space."""
    workspace = Workspace(tmp_path_factory.mktemp("work space"))
    with pytest.MonkeyPatch.context() as patch:
        enter(workspace, patch)
        keep_server(workspace.home)
    yield workspace
    stop_server(workspace.home)


@pytest.fixture(scope="session")
def first_run(workspace: Workspace) -> Done:
    """The tiny config, run by the command line."""
    return workspace.rnnpipe("run", workspace.config())


@pytest.fixture(scope="session")
def _prefect_knows_the_server(workspace: Workspace) -> None:
    """Import Prefect where it finds the workspace: it reads its settings once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        enter(workspace, patch)
        patch.setenv("PREFECT_API_URL", keep_server(workspace.home))
        importlib.import_module("flows.pipeline")
        # it may be imported already, with other settings, and its handlers gone
        logging.getLogger("rnnpipe").handlers.clear()
        importlib.import_module("prefect.context").refresh_global_settings_context()
        importlib.import_module("prefect.logging.configuration").setup_logging(incremental=False)


@pytest.fixture
def call(
    workspace: Workspace,
    _prefect_knows_the_server: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Call]:
    """Return a function that does in this process what the command line does: the imports are paid for once."""
    logger, handler = logging.getLogger("rnnpipe"), signal.getsignal(signal.SIGTERM)
    handlers, raises = list(logger.handlers), logging.raiseExceptions

    def run(*arguments: object, environment: Mapping[str, str] = MappingProxyType({})) -> Done:
        enter(workspace, monkeypatch)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(int(end.value.code or 0), captured.out, captured.err)

    yield run
    logger.handlers[:] = handlers
    logging.raiseExceptions = raises
    signal.signal(signal.SIGTERM, handler)
    gc.unfreeze()


def enter(workspace: Workspace, patch: pytest.MonkeyPatch) -> None:
    """Let this process find the workspace."""
    for name in [*(name for name in os.environ if name.startswith("PREFECT_")), "MLFLOW_TRACKING_URI"]:
        patch.delenv(name, raising=False)
    for name in ("RNNPIPE_HOME", "RNNPIPE_LOCKS", "PYTHONPATH"):
        patch.setenv(name, workspace.environment[name])
    before = dict(os.environ)
    set_defaults(workspace.home)
    for name in os.environ.keys() - before.keys():
        patch.setenv(name, os.environ.pop(name))
