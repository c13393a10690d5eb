"""The services as in their containers: without any capability, and nothing can be written but /data and /tmp.

There the kernel's mounts do it; so do they here, in a namespace of the process. Run it with -m slow.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from stack_helpers import ROOT, Stack, needs_postgres, new_stack
from workspaces import wait_for

from flows.stack.health import check_health
from flows.stack.places import Places
from rnnpipe.errors import ServiceError

SEALED = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind /
cd "$1"
shift
exec setpriv --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""


def sealed(writable: Path, *command: str) -> list[str]:
    """Return a command that runs another one where only one folder can be written."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", SEALED, "sh", str(writable), *command]


def can_be_sealed() -> bool:
    if os.getuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    probe = sealed(ROOT / "docker", sys.executable, "-c", "import flows.stack.services")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(probe, capture_output=True, check=False, env=environment).returncode == 0


pytestmark = [needs_postgres, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module", autouse=True)
def _sealable() -> None:
    if not can_be_sealed():
        pytest.skip("only root of a Linux machine can take the file system away")


@pytest.fixture(scope="module")
def stack(_sealable: None) -> Iterator[Stack]:
    """A stack whose databases are there; its servers are started by the tests."""
    with new_stack() as stack, stack.running(("postgres", "databases", "mlflow-upgrade")):
        yield stack


def environment_of_image(data: Path) -> dict[str, str]:
    """Return the environment that the Dockerfile sets, with other folders in the place of /data and /tmp."""
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    values = dict(re.findall(r"(\w+)=(\S+)", text.split("FROM ")[-1].split("ENV ")[1].splitlines()[0]))
    assert values["RNNPIPE_HOME"] == "/data"
    moved = {name: re.sub("^/(?=data|tmp)", f"{data}/", value) for name, value in values.items()}
    return {**moved, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": moved["HOME"]}


@contextmanager
def container(stack: Stack, name: str, places: Places) -> Iterator[dict[str, str]]:
    """Let a service run as in its container, and yield its environment."""
    data = stack.folder / name
    for folder in (data / "data", data / "tmp"):
        folder.mkdir(parents=True)
    environment = {**environment_of_image(data), **places.variables(), "RNNPIPE_SERVICE": name}
    command = sealed(data, sys.executable, "-m", "rnnpipe", "stack", "service")
    path = stack.folder / f"{name}.log"
    with (
        path.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            wait_for(lambda: is_healthy(name, places) or process.poll() is not None)
            assert process.poll() is None, path.read_text(encoding="utf-8")
            yield environment
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def is_healthy(name: str, places: Places) -> bool:
    try:
        check_health(name, places)
    except ServiceError:
        return False
    return True


def test_the_seal_holds(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for path, code in ((tmp_path / "here" / "file", 0), (tmp_path / "file", 1), (ROOT / "file", 1)):
        done = subprocess.run(sealed(tmp_path / "here", "touch", str(path)), capture_output=True, check=False)
        assert done.returncode == code, (path, done.stderr)


def test_servers_and_a_run_need_no_other_place_to_write(stack: Stack) -> None:
    address = {name: f"127.0.0.1:{port}" for name, port in stack.ports.items()}
    places = replace(
        Places(folder=Path("unused"), secrets=stack.secrets),
        **address,
        prefect_page=f"http://{address['prefect']}",
    )
    with container(stack, "prefect", places) as environment, container(stack, "mlflow", places):
        config = stack.workspace.config()
        run = sealed(
            stack.folder / "prefect", sys.executable, "-m", "rnnpipe", "stack", "service", "--name", "worker",
            sys.executable, "-m", "rnnpipe", "run", str(config),
        )  # fmt: skip
        done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "champion: models:/digits-rows/1" in done.stdout and "Read-only" not in done.stdout + done.stderr
    for name in ("prefect", "mlflow"):
        output = (stack.folder / f"{name}.log").read_text(encoding="utf-8")
        assert not re.search("read-only|permission", output, re.IGNORECASE), output
