"""A background service: started once, stopped after its last user, however that one ends."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import service_users
from process_helpers import StartUser, is_alive
from service_users import services_started

from rnnpipe.processes.lifetime import stop_process
from rnnpipe.processes.service import KEEP, is_running, is_wanted, keeper_of, using, wait_until_stopped

WaitFor = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "service"
    yield folder
    if keeper := keeper_of(folder):
        stop_process(keeper)


def test_two_users_share_a_service_that_ends_with_the_last(
    folder: Path, start_user: StartUser, wait_for: WaitFor
) -> None:
    first, second = (start_user("service_users:use", folder) for _ in range(2))
    wait_for(lambda: len(list(folder.glob("using-*"))) == 2)
    (service,) = services_started(folder)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert is_wanted(folder) and is_running(folder) and is_alive(service)
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert wait_until_stopped(folder)
    assert not is_alive(service) and not is_running(folder)
    assert not list((folder / "users").glob("*")), "the lock files of the dead are still there"


def test_a_user_that_leaves_stops_the_service_and_the_next_starts_another(folder: Path) -> None:
    for number in range(2):
        with using(folder):
            service_users.start_if_needed(folder)
            assert is_alive(services_started(folder)[number])
        assert wait_until_stopped(folder)
        assert not is_alive(services_started(folder)[number])


def test_a_kept_service_stays_without_users(folder: Path, wait_for: WaitFor) -> None:
    with using(folder):
        service_users.start_if_needed(folder)
        (folder / KEEP).touch()
    assert not wait_until_stopped(folder, timeout_s=0.8)
    assert is_running(folder)
    (folder / KEEP).unlink()
    assert wait_until_stopped(folder)


def test_a_service_that_ends_by_itself_ends_its_keeper(folder: Path) -> None:
    with using(folder):
        service_users.start_if_needed(folder)
        psutil.Process(services_started(folder)[0]).kill()
        assert wait_until_stopped(folder)
        assert not is_running(folder)


def test_a_killed_keeper_takes_the_service_along(folder: Path, wait_for: WaitFor) -> None:
    with using(folder):
        service_users.start_if_needed(folder)
        keeper = keeper_of(folder)
        assert keeper is not None
        keeper.kill()
        wait_for(lambda: not is_alive(services_started(folder)[0]))
        assert not is_running(folder)
