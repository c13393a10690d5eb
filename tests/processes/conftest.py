"""Processes that find the helper modules of these tests, and are gone after each test."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_helpers import StartUser

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _helpers_can_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("RNNPIPE_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Return a function that waits until something is true, and fails after 20 s."""

    def wait(is_true: Callable[[], object], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline, "it didn't happen in time"
            time.sleep(0.02)

    return wait


@pytest.fixture
def start_user() -> Iterator[StartUser]:
    """Return a function that starts a process: a helper's function on a folder."""
    users: list[subprocess.Popen[bytes]] = []

    def start(module_and_function: str, folder: Path) -> subprocess.Popen[bytes]:
        module, _, function = module_and_function.partition(":")
        user = subprocess.Popen([sys.executable, "-m", module, function, str(folder)])
        users.append(user)
        return user

    yield start
    for user in users:
        user.kill()
        user.wait()
