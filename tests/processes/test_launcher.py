"""The launcher: jobs in processes of their own, and what becomes of them in every kind of end."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from process_helpers import StartUser, is_alive

from rnnpipe.errors import DataError, DeviceError, RnnpipeError, TrainingError
from rnnpipe.files import write_json
from rnnpipe.processes import launcher as launcher_module
from rnnpipe.processes.forkserver import ERROR_FILE, OUTPUT_FILE
from rnnpipe.processes.launcher import Launcher
from rnnpipe.processes.slots import Job, device_slot

WaitFor = Callable[..., None]


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    with Launcher(preload=["process_targets"]) as started:
        yield started


def test_a_job_is_forked_from_a_server_that_has_imported_what_it_needs(launcher: Launcher, tmp_path: Path) -> None:
    launcher.run("process_targets:write_pids", tmp_path)
    job, parent, imported_in = map(int, (tmp_path / "pids").read_text().split())
    assert job not in (os.getpid(), parent) and parent != os.getpid()
    assert imported_in == parent, "the module was imported in the job, not in the fork server"
    assert (tmp_path / OUTPUT_FILE).read_text() == "said by the job\n"


def test_the_other_modules_are_imported_while_there_is_nothing_to_do(tmp_path: Path, wait_for: WaitFor) -> None:
    with Launcher(preload=["json", "nowhere_to_be_found", "broken_at_import", "process_targets"]) as started:

        def is_imported_by_the_server() -> bool:
            started.run("process_targets:write_pids", tmp_path)
            _, parent, imported_in = map(int, (tmp_path / "pids").read_text().split())
            return imported_in == parent

        wait_for(is_imported_by_the_server)


def test_a_warm_server_runs_a_job_in_less_than_half_a_second(launcher: Launcher, tmp_path: Path) -> None:
    launcher.run("process_targets:write_pids", tmp_path)
    walls_s = []
    for _ in range(3):
        started = time.perf_counter()
        launcher.run("process_targets:write_pids", tmp_path)
        walls_s.append(time.perf_counter() - started)
    assert min(walls_s) < 0.5


def test_an_error_of_rnnpipe_arrives_as_it_was_raised(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the images are gone") as caught:
        launcher.run("process_targets:fail_for_users", tmp_path)
    assert caught.value.fix == "bring them back"


def test_an_unexpected_error_names_itself_and_where_its_traceback_is(launcher: Launcher, tmp_path: Path) -> None:
    with pytest.raises(RnnpipeError, match="KeyError: 'nobody thought of this'") as caught:
        launcher.run("process_targets:fail_unexpectedly", tmp_path)
    assert str(tmp_path / OUTPUT_FILE) in caught.value.fix
    assert "Traceback" in (tmp_path / OUTPUT_FILE).read_text()


@pytest.mark.parametrize(
    ("target", "words"),
    [("be_killed", "killed by SIGKILL"), ("crash", "killed by SIGSEGV"), ("leave", "ended with code 200")],
)
def test_a_crash_names_the_signal_and_leaves_the_others_alone(
    launcher: Launcher, tmp_path: Path, target: str, words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        launcher.run(f"process_targets:{target}", tmp_path)
    launcher.run("process_targets:write_pids", tmp_path)


def test_the_error_of_an_earlier_try_is_not_taken_for_this_one_s(launcher: Launcher, tmp_path: Path) -> None:
    write_json(tmp_path / ERROR_FILE, {"type": "DataError", "message": "old", "fix": ""})
    with pytest.raises(TrainingError, match="SIGKILL"):
        launcher.run("process_targets:be_killed", tmp_path)


def test_the_error_of_a_job_that_ends_later_is_not_taken_for_this_one_s(
    launcher: Launcher, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="SIGKILL"):
        launcher.run("process_targets:be_killed_while_another_job_fails", tmp_path)


@pytest.mark.parametrize("target", ["sleep_long", "sleep_stubbornly"])
def test_a_time_out_stops_the_job_even_if_it_does_not_want_to(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(launcher_module, "GRACE_S", 0.4)
    launcher.run("process_targets:write_pids", tmp_path)
    with pytest.raises(TrainingError, match=r"after 0\.3 s, the time-out"):
        launcher.run(f"process_targets:{target}", tmp_path, timeout_s=0.3)
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.fixture
def busy_gpu(tmp_path: Path) -> Iterator[threading.Thread]:
    """A thread that holds the GPU for a second and a half."""
    held = threading.Event()

    def hold() -> None:
        with device_slot("cuda:0", Job("somebody else", "ab12", threads=1), tmp_path / "other"):
            held.set()
            time.sleep(1.5)

    (tmp_path / "other" / "log").mkdir(parents=True)
    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(10)
    yield other
    other.join()


def test_waiting_for_a_device_is_told_and_is_no_part_of_the_time_out(
    launcher: Launcher, tmp_path: Path, busy_gpu: threading.Thread
) -> None:
    told: list[str] = []
    launcher.run("process_targets:wait_for_the_gpu", tmp_path, timeout_s=0.8, on_busy=told.append)
    assert not busy_gpu.is_alive()
    assert not (tmp_path / "log" / "waiting").exists()
    (text,) = told
    assert text.startswith(f"cuda:0, held by somebody else (run ab12, process {os.getpid()} on ")


def test_who_doesn_t_want_to_wait_ends_the_job(
    launcher: Launcher, tmp_path: Path, busy_gpu: threading.Thread
) -> None:
    def give_up(held: str) -> None:
        raise DeviceError(held)

    with pytest.raises(DeviceError, match="held by somebody else"):
        launcher.run("process_targets:wait_for_the_gpu", tmp_path, on_busy=give_up)
    assert busy_gpu.is_alive()


def test_many_threads_run_jobs_at_once(launcher: Launcher, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(16)]

    def run(number: int) -> str:
        if number % 4 == 3:
            with pytest.raises(DataError):
                launcher.run("process_targets:fail_for_users", folders[number])
            return f"failed {number}"
        launcher.run("process_targets:write_pids", folders[number])
        return (folders[number] / "pids").read_text()

    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(run, range(16)))) == 16


def test_no_more_processes_are_started_than_can_soon_have_a_core(
    monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None], tmp_path: Path
) -> None:
    """Two at a time on one core: one works, one has started when the core becomes free."""
    monkeypatch.setattr(launcher_module, "cpu_cores", lambda: 1)
    folders = [tmp_path / str(number) for number in range(4)]

    def begun() -> list[Path]:
        return [folder for folder in folders if (folder / "begun").exists() and not (folder / "ended").exists()]

    def run(folder: Path) -> None:
        launcher.run("process_targets:stay_until_told", folder)
        (folder / "ended").touch()

    for folder in folders:
        folder.mkdir()
    with Launcher(preload=["process_targets"]) as launcher, ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, folder) for folder in folders]
        for left in (4, 3, 2, 1):
            wait_for(lambda: len(begun()) == min(left, 2))  # noqa: B023 (called at once)
            time.sleep(0.3)
            assert len(begun()) == min(left, 2)
            (begun()[0] / "end").touch()
            wait_for(lambda: sum(each.done() for each in runs) == 5 - left)  # noqa: B023


def test_what_waits_is_called_while_the_job_runs_and_once_after_its_end(
    launcher: Launcher, tmp_path: Path
) -> None:
    seen: list[bool] = []
    launcher.run(
        "process_targets:write_pids", tmp_path, while_waiting=lambda: seen.append((tmp_path / "pids").exists())
    )
    assert seen[-1]


def has_started(folder: Path) -> bool:
    return (folder / "pid").exists() and bool((folder / "pid").read_text())


@pytest.mark.parametrize("target", ["sleep_long", "sleep_stubbornly", "keep_work_then_end"])
def test_a_job_nobody_waits_for_any_more_may_keep_its_work_and_is_gone(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    def interrupt() -> None:
        if has_started(tmp_path):
            raise KeyboardInterrupt

    if target == "sleep_stubbornly":
        monkeypatch.setattr(launcher_module, "GRACE_S", 0.4)
    with pytest.raises(KeyboardInterrupt):
        launcher.run(f"process_targets:{target}", tmp_path, while_waiting=interrupt)
    assert not is_alive(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "kept").exists() == (target == "keep_work_then_end")


@pytest.mark.parametrize(
    ("targets", "most_s"),
    [
        (["sleep_long", "keep_work_then_end"], 4),
        pytest.param(["sleep_stubbornly", "sleep_stubbornly"], 8, marks=pytest.mark.slow),
    ],
)
def test_closing_lets_all_jobs_keep_their_work_at_once(
    tmp_path: Path, wait_for: WaitFor, targets: list[str], most_s: float
) -> None:
    folders = [tmp_path / str(number) for number in range(len(targets))]
    with ThreadPoolExecutor() as pool:
        with Launcher() as launcher:
            jobs = []
            for folder, target in zip(folders, targets, strict=True):
                folder.mkdir()
                jobs.append(pool.submit(launcher.run, f"process_targets:{target}", folder))
            wait_for(lambda: all(map(has_started, folders)))
            started = time.perf_counter()
        assert time.perf_counter() - started < most_s
        assert all(isinstance(job.exception(timeout=5), TrainingError) for job in jobs)
    assert not any(is_alive(int((folder / "pid").read_text())) for folder in folders)
    assert [(folder / "kept").exists() for folder in folders] == [name == "keep_work_then_end" for name in targets]


def test_closing_ends_every_job_and_starts_no_other(tmp_path: Path, wait_for: WaitFor) -> None:
    launcher, errors = Launcher(), []

    def run() -> None:
        try:
            launcher.run("process_targets:sleep_long", tmp_path)
        except TrainingError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    launcher.close()
    thread.join(timeout=10)
    assert len(errors) == 1 and not is_alive(int((tmp_path / "pid").read_text()))
    with pytest.raises(TrainingError, match="being stopped"):
        launcher.run("process_targets:write_pids", tmp_path)
    launcher.close()


def test_a_killed_fork_server_takes_its_jobs_along_and_is_replaced(
    launcher: Launcher, tmp_path: Path, wait_for: WaitFor
) -> None:
    def kill_server() -> None:
        if (tmp_path / "pid").exists() and (text := (tmp_path / "pid").read_text()) and is_alive(int(text)):
            os.kill(psutil.Process(int(text)).ppid(), signal.SIGKILL)

    with pytest.raises(TrainingError, match="SIGKILL"):
        launcher.run("process_targets:sleep_long", tmp_path, while_waiting=kill_server)
    wait_for(lambda: not is_alive(int((tmp_path / "pid").read_text())))
    launcher.run("process_targets:write_pids", tmp_path)


def test_a_killed_user_leaves_no_process_behind(tmp_path: Path, start_user: StartUser, wait_for: WaitFor) -> None:
    user = start_user("process_targets:use_launcher", tmp_path)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    family = psutil.Process(user.pid).children(recursive=True)
    assert len(family) == 2, "the fork server and its job"
    user.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(is_alive(process.pid) for process in family))
