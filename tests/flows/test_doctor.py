"""The doctor: each illness is named with its fix, and a healthy workspace is called so."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from workspaces import OF_A_USER, Done, Workspace

from flows import doctor
from flows.doctor import (
    CHECKS,
    check_device,
    check_passwords,
    check_space,
    check_spool,
    check_store,
    check_temporaries,
    check_workspace,
    examine,
)
from flows.health import check_mlflow, check_prefect
from flows.spool import delivering, spool_folder
from rnnpipe.errors import DeviceError, RnnpipeError, ServiceError, TrackingError
from rnnpipe.references import Recipe
from rnnpipe.store import Store
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.runs import OWNER_TAG, RunSpec, start_run

RECIPE = Recipe(stage="trainings", inputs={"seed": 0})
WORKER = """
import os, signal, sys, time
from pathlib import Path
from rnnpipe.files import atomic_path
from rnnpipe.references import Recipe
from rnnpipe.store import Store

def build(folder):
    with atomic_path(folder / "weights") as temporary:
        if sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        print("at work", flush=True)
        time.sleep(60)

Store(Path(sys.argv[1]) / "store").ensure(Recipe(stage="trainings", inputs={"seed": 0}), build, "ab12")
"""


@pytest.fixture(autouse=True)
def _nothing_of_the_user_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith((*OF_A_USER, "AWS_", "POSTGRES_", "MINIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RNNPIPE_LOCKS", str(tmp_path / "locks"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty workspace."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def build(folder: Path) -> dict[str, Any]:
    (folder / "weights").write_bytes(bytes(1000))
    return {}


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_workspace_that_is_not_there_yet_is_well_and_stays_away(tmp_path: Path) -> None:
    findings = list(examine(tmp_path / "none"))
    assert [finding.subject for finding in findings] == list(CHECKS)
    assert [finding for finding in findings if not finding.is_well] == []
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


def test_a_workspace_after_a_run_is_well(workspace: Workspace, first_run: Done, call: Callable[..., Done]) -> None:
    done = call("doctor")
    assert (done.code, done.err) == (0, "") and len(done.out.splitlines()) == len(CHECKS)
    assert all(line.startswith("ok ") for line in done.out.splitlines())
    assert " outputs, every file verifies" in done.out and "goes on from there" not in done.out


def test_what_a_living_run_is_sending_does_not_wait(home: Path) -> None:
    path = spool_folder(home) / "a.json"
    with delivering(path):
        path.write_text("{}")
        assert check_spool(home) == "MLflow has been told everything"
    with pytest.raises(RnnpipeError, match="doesn't hold 1 pipeline run"):
        check_spool(home)


def test_what_is_wrong_stands_in_one_line_with_its_fix(home: Path, call: Callable[..., Done]) -> None:
    (home / "spool").mkdir()
    for name in "ab":
        (home / "spool" / f"{name}.json").write_text("{}")
    environment = {"RNNPIPE_HOME": str(home), "MLFLOW_TRACKING_PASSWORD": "password1234"}
    done = call("doctor", environment=environment)
    wrong = [line.split(maxsplit=2)[1:] for line in done.out.splitlines() if not line.startswith("ok ")]
    assert done.code == 1 and wrong == [
        ["spool", "MLflow doesn't hold 2 pipeline runs completely; fix: rnnpipe sync"],
        ["passwords", "a default password stands in MLFLOW_TRACKING_PASSWORD; fix: change it on the server and"
         " here; `openssl rand -hex 24` makes one"],
    ]  # fmt: skip
    assert "password1234" not in done.out + done.err


def test_a_check_that_breaks_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(workspace: Path) -> str:
        raise RuntimeError("driver says no")

    def refuse(workspace: Path) -> str:
        raise PermissionError(13, "Permission denied")

    checks = {"device": break_down, "store": refuse, "spool": check_spool}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    device, store, spool = examine(tmp_path)
    assert "RuntimeError: driver says no" in device.text and not device.is_well
    assert "Permission denied" in store.text and not store.is_well
    assert spool.is_well


# ---- the machine


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for workspace in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(RnnpipeError, match="is no folder"):
            check_workspace(workspace)


def test_a_workspace_that_cannot_be_written_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(parent: Path) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor, "scratch_folder", refuse)
    with pytest.raises(RnnpipeError, match="Read-only file system"):
        check_workspace(home)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RnnpipeError, match="can't be made"):
        check_workspace(home / "none")


def test_locks_have_to_hold(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "locked" in check_workspace(home)
    assert not list(home.iterdir())
    monkeypatch.setattr(doctor, "is_held", lambda path: False)
    with pytest.raises(RnnpipeError, match="doesn't lock files"):
        check_workspace(home)


def test_a_network_file_system_is_no_place_for_a_workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = namedtuple("mount", "mountpoint fstype")
    mounts = [mount("/", "ext4"), mount(str(home.parent), "nfs4"), mount("/elsewhere", "tmpfs")]
    monkeypatch.setattr(doctor.psutil, "disk_partitions", lambda **_: mounts)
    with pytest.raises(RnnpipeError, match=r"network file system \(nfs4\)"):
        check_workspace(home)
    mounts.append(mount(str(home), "xfs"))
    assert check_workspace(home)


def test_a_full_disk_is_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(doctor.psutil, "disk_usage", lambda path: usage(200 * 2**20))
    with pytest.raises(RnnpipeError, match=r"0\.2 GiB are free"):
        check_space(home / "not" / "yet")


def test_the_device_is_described(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "chosen by auto" in check_device(home)
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    with pytest.raises(DeviceError, match="belongs to another user"):
        check_device(home)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", "http://admin:password1234@mlflow:5000"),
        ("MLFLOW_TRACKING_URI", "https://me:m%65@mlflow"),
        ("MLFLOW_AUTH_ADMIN_PASSWORD", "Password"),
        ("PREFECT_API_AUTH_STRING", "admin:pass"),
        ("PREFECT_SERVER_API_AUTH_STRING", "someone:someone"),
        ("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql+asyncpg://postgres:postgres@db/prefect"),
        ("AWS_SECRET_ACCESS_KEY", "minioadmin"),
    ],
)
def test_default_passwords_are_found_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(RnnpipeError) as caught:
        check_passwords(home)
    assert caught.value.message == f"a default password stands in {name}"


def test_passwords_of_one_s_own_are_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MLFLOW_TRACKING_URI": "http://admin:8f1cQ2z@mlflow:5000", "PREFECT_API_AUTH_STRING": "admin:8f1cQ2z",
        "MLFLOW_TRACKING_PASSWORD": "", "PREFECT_API_URL": "http://[broken", "MLFLOW_EXPERIMENT": "test",
        "PREFECT_UI_URL": "http://prefect",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert check_passwords(home)


# ---- the store


def test_damage_is_named_with_the_way_out(home: Path) -> None:
    entry = Store(home / "store").ensure(RECIPE, build, "ab12")
    assert check_store(home) == "1 outputs, every file verifies"
    (entry.path / "weights").write_bytes(b"torn")
    with pytest.raises(RnnpipeError) as caught:
        check_store(home)
    assert f"trainings/{RECIPE.key[:12]}" in caught.value.message and str(entry.path) in caught.value.fix
    Store(home / "store").ensure(RECIPE, build, "cd34")
    assert check_store(home)


def test_what_a_kill_left_is_told_as_resumable_and_to_be_swept(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER, str(home), "die"]) as killed:
        assert killed.wait(timeout=60) == -signal.SIGKILL
    told = check_store(home)
    assert f"unfinished: trainings/{RECIPE.key[:12]}" in told and "goes on from there" in told
    with pytest.raises(RnnpipeError, match="left 1 half-written files"):
        check_temporaries(home)
    Store(home / "store").ensure(RECIPE, build, "ab12")
    assert check_temporaries(home) and check_store(home) == "1 outputs, every file verifies"


def test_what_is_in_work_names_who_works(home: Path) -> None:
    command = [sys.executable, "-c", WORKER, str(home), "live"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None and worker.stdout.readline() == "at work\n"
            assert f"in work by `-c {home} live` (process {worker.pid} on " in check_store(home)
            assert check_temporaries(home)
        finally:
            worker.kill()


# ---- MLflow


def test_runs_of_the_dead_are_named(home: Path) -> None:
    tracking = open_tracking(sqlite_uri(home / "mlflow.db"), "some", home)
    now_ms = time.time_ns() // 1_000_000
    specs = [RunSpec(key=key * 64, name=f"run {key}", params={}, tags={}, started_at_ms=now_ms) for key in "ab"]
    alive, dead = (start_run(tracking, spec) for spec in specs)
    assert check_mlflow(home) == f"{sqlite_uri(home / 'mlflow.db')} answers"
    owner = tracking.client.get_run(alive).data.tags[OWNER_TAG].split("/")
    tracking.client.set_tag(dead, OWNER_TAG, "/".join([owner[0], str(dead_process()), *owner[2:]]))
    with pytest.raises(TrackingError) as caught:
        check_mlflow(home)
    assert caught.value.message.endswith("though their process died: run b")
    assert tracking.client.get_run(dead).info.status == "RUNNING"


def test_an_mlflow_that_cannot_be_used_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mlflow.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)
    with pytest.raises(TrackingError, match=r"mlflow\.db is damaged"):
        check_mlflow(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingError) as caught:
        check_mlflow(home)
    assert "127.0.0.1:9" in str(caught.value) and "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(home / "mlruns"))
    with pytest.raises(TrackingError, match="keeps no runs at"):
        check_mlflow(home)


# ---- Prefect


class Guarded(BaseHTTPRequestHandler):
    """A Prefect server that knows one user."""

    def do_GET(self) -> None:
        let_in = self.path.endswith("/health") or self.headers["Authorization"] == "Basic bWU6cmlnaHQ="
        self.send_response(200 if let_in else 401)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def guarded() -> Iterator[str]:
    """The API URL of a server that asks who is there."""
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_a_prefect_server_has_to_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@127.0.0.1:{closed.getsockname()[1]}/api")
        with pytest.raises(ServiceError, match="no Prefect server answers at http://") as caught:
            check_prefect(home)
    assert "unset PREFECT_API_URL" in caught.value.fix and "secret" not in str(caught.value)


def test_a_prefect_server_has_to_let_this_user_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, guarded: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", guarded)
    for login in ("", "me:wrong"):
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", login)
        with pytest.raises(ServiceError, match="refuses this user"):
            check_prefect(home)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:right")
    assert check_prefect(home) == f"{guarded} answers"


def test_flow_runs_of_the_dead_are_named(home: Path, monkeypatch: pytest.MonkeyPatch, guarded: str) -> None:
    monkeypatch.setenv("PREFECT_API_URL", guarded)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:right")
    runs = home / "prefect" / "runs"
    runs.mkdir(parents=True)
    with FileLock(runs / "alive.lock"):
        assert check_prefect(home)
        (runs / "dead.lock").touch()
        with pytest.raises(ServiceError, match="their process died: dead"):
            check_prefect(home)


def test_a_prefect_that_cannot_be_imported_is_seen(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import health

    health._check_import.cache_clear()
    monkeypatch.setattr(health, "SERVER_MODULE", "prefect.server.no_such_module")
    with pytest.raises(ServiceError, match="can't be imported: ModuleNotFoundError"):
        check_prefect(home)
