"""The real model server behind its front: right answers, short refusals, and no request lost when it changes."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from served_models import NAME, Served
from workspaces import ROOT, Workspace, done, free_port, wait_for

from rnnpipe.tracking import registry

JSON = {"Content-Type": "application/json"}
ZERO = [[0] * 28] * 28


def pids(workspace: Workspace) -> set[int]:
    return {each.pid for each in workspace.processes()}


@contextlib.contextmanager
def serving(workspace: Workspace, *arguments: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Yield the command and its address; it is killed if it is still there at the end."""
    port, others = free_port(), pids(workspace)
    process = workspace.start("serve-model", *arguments, "--port", port)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert f"http://127.0.0.1:{port}/invocations" in told, told + str(process.stderr and process.stderr.read())
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()
        wait_for(lambda: pids(workspace) <= others)


@pytest.fixture(scope="module")
def address(registered: Served) -> Iterator[str]:
    """Where the champion answers; the command ends as it should on Ctrl-C."""
    with serving(registered.workspace) as (process, address):
        yield address
        process.send_signal(signal.SIGINT)
        ended = done(process)
        assert ended.code == 0 and "the model is no longer served" in ended.out and not ended.err
        assert not registered.workspace.processes()
        assert not list((registered.workspace.home / "serving").iterdir())


def ask(address: str, content: Any) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(f"{address}/invocations", content=body, headers=JSON, timeout=60)


def images(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28))


@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_answers_are_the_nets_own(registered: Served, address: str, key: str, count: int) -> None:
    asked = images(count)
    for values in (asked.tolist(), asked.astype(float).tolist()):
        answer = ask(address, {key: values})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model"] == f"models:/{NAME}/1"
        found = np.array(answer.json()["predictions"])
        assert np.abs(found - registered.expected(1, asked.astype(np.float32))).max() < 1e-5


def test_it_says_who_answers(address: str) -> None:
    assert httpx.get(f"{address}/ping").status_code == httpx.get(f"{address}/health").status_code == 200
    assert httpx.get(f"{address}/model").json() == {
        "uri": f"models:/{NAME}/1", "variant": "gru-8x1", "image_size": [28, 28],
        "shape": [28, 28], "classes": [str(number) for number in range(10)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"inputs": ZERO}, r"the shape is \[28, 28\]; it has to be \[N, 28, 28\]"),
        ({"inputs": [[[0] * 27] * 28]}, r"\[1, 28, 27\]"),
        ({"inputs": [ZERO[:27]]}, r"\[1, 27, 28\]"),
        ({"inputs": [[[[0]] * 28] * 28]}, "the shape is"),
        ({"inputs": []}, r"the shape is \[0\]"),
        ({"inputs": [ZERO, ZERO[:5]]}, "differ in length"),
        ({"inputs": [[["0"] * 28] * 28]}, "numbers from 0 to 255"),
        ({"inputs": [[[None] * 28] * 28]}, "numbers from 0 to 255"),
        ({"inputs": [[[True] * 28] * 28]}, "numbers from 0 to 255"),
        ({"inputs": [[[0] * 27 + [False]] * 28]}, "numbers from 0 to 255"),
        ({"inputs": [[[256] * 28] * 28]}, "reach from 256 to 256"),
        ({"inputs": [[[-1] * 28] * 28]}, "reach from -1"),
        ({"inputs": [[[10**400] * 28] * 28]}, "numbers from 0 to 255"),
        ({"inputs": [[[float("nan")] * 28] * 28]}, "NaN is no number"),
        ({"inputs": "zero"}, "no list"),
        ({"inputs": {"a": 1}}, "no list"),
        ({"images": [ZERO]}, "the keys: images"),
        ({"inputs": [ZERO], "params": {}}, "inputs, params"),
        ({"dataframe_split": {"data": [[1]]}}, "dataframe_split"),
        ({}, r"\(none\)"),
        ([ZERO], "no object"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"inputs": 1' + b"0" * 5000 + b"}", "not JSON"),
    ],
)  # fmt: skip
def test_what_is_wrong_gets_a_short_400(address: str, content: Any, reason: str) -> None:
    answer = ask(address, content)
    assert answer.status_code == 400 and len(answer.content) < 400
    assert re.search(reason, answer.json()["error"]), answer.json()
    assert ask(address, {"inputs": [ZERO]}).status_code == 200


def test_what_isnt_json_is_refused(address: str) -> None:
    for kind in ("text/csv", "application/octet-stream", ""):
        answer = httpx.post(
            f"{address}/invocations", content=b"0,1", headers={"Content-Type": kind} if kind else {}
        )
        assert answer.status_code == 400 and "Content-Type: application/json" in answer.json()["error"]
    assert ask(address, b" " * (33 << 20)).status_code == 413
    assert httpx.get(f"{address}/invocations").status_code == 405
    assert httpx.get(f"{address}/nothing").status_code == 404
    assert httpx.get(f"{address}/model", headers={"Host": "elsewhere.example"}).status_code == 400


def test_the_documented_curl_is_answered(address: str, tmp_path: Path) -> None:
    """README's two lines, as they stand there, but for the port."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^(python .*images\.json.*\ncurl .*images\.json)$", text, re.MULTILINE)
    lines = lines.replace("http://127.0.0.1:5020", address).replace("python ", f"{sys.executable} ", 1)
    bash = shutil.which("bash") or "sh"
    answer = subprocess.run([bash, "-ec", lines], capture_output=True, check=True, text=True, cwd=tmp_path)
    (probabilities,) = json.loads(answer.stdout)["predictions"]
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


def test_a_new_champion_takes_over_and_no_request_is_dropped(registered: Served, address: str) -> None:
    asked, seen, wrong, over = images(3), list[str](), list[str](), threading.Event()
    expected = {
        f"models:/{NAME}/{number}": registered.expected(number, asked.astype(np.float32)) for number in (1, 2)
    }

    def keep_asking() -> None:
        with httpx.Client(timeout=60) as client:
            while not over.is_set():
                answer = client.post(f"{address}/invocations", json={"inputs": asked.tolist()})
                model = answer.headers.get("x-model", "")
                seen.append(model)
                if answer.status_code != 200:
                    wrong.append(answer.text)
                elif np.abs(np.array(answer.json()["predictions"]) - expected[model]).max() > 1e-5:
                    wrong.append(f"not the answer of {model}")

    askers = [threading.Thread(target=keep_asking) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        wait_for(lambda: len(seen) > 10)
        assert registry.promote(registered.tracking, registered.versions[1], 1)
        wait_for(lambda: seen[-1].endswith("/2"))
        wait_for(lambda: len(list((registered.workspace.home / "serving").iterdir())) == 1)
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert not wrong and len(seen) > 20 and set(seen) == expected.keys()


def server_processes(workspace: Workspace) -> list[Any]:
    return [each for each in workspace.processes() if "mlflow.pyfunc.scoring_server.app:app" in each.cmdline()]


@pytest.mark.slow
def test_a_server_that_dies_is_replaced(registered: Served, address: str) -> None:
    (server,) = server_processes(registered.workspace)
    server.kill()
    wait_for(lambda: ask(address, {"inputs": [ZERO]}).status_code == 503)
    wait_for(lambda: ask(address, {"inputs": [ZERO]}).status_code == 200)
    assert len(server_processes(registered.workspace)) == 1


@pytest.mark.slow
def test_nothing_stays_behind_when_the_command_is_killed(registered: Served) -> None:
    folders, before = set(registered.workspace.home.glob("serving/*")), pids(registered.workspace)
    with serving(registered.workspace, f"models:/{NAME}/2") as (process, address):
        assert ask(address, {"inputs": [ZERO]}).headers["x-model"] == f"models:/{NAME}/2"
        its = pids(registered.workspace) - before - {process.pid}
        assert len(its) >= 3  # the keeper, MLflow's command, the server
        process.kill()
        process.wait()
        wait_for(lambda: not its & pids(registered.workspace), timeout_s=60)
    (left,) = set(registered.workspace.home.glob("serving/*")) - folders  # swept by a later command
    shutil.rmtree(left)


@pytest.mark.slow
def test_a_model_that_doesnt_start_is_told(registered: Served, tmp_path: Path) -> None:
    before = pids(registered.workspace)
    folders = set(registered.workspace.home.glob("serving/*"))
    broken = {**registered.workspace.environment, "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "x"}
    process = subprocess.run(
        [sys.executable, "-m", "rnnpipe", "serve-model", "--port", str(free_port())],
        cwd=tmp_path, env=broken, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 6 and "doesn't come up" in process.stderr and "output.log" in process.stderr
    assert pids(registered.workspace) == before
    (left,) = set(registered.workspace.home.glob("serving/*")) - folders
    assert "Error" in (left / "output.log").read_text()
    shutil.rmtree(left)
