"""A stranger who loads a stored model: a clean process, without rnnpipe and with pickle forbidden."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rnnpipe.credentials import mask_credentials
from rnnpipe.errors import RegistrationError

LOAD_TIMEOUT_S = 600
READY = "ready\n"
FIX = "the model isn't registered; train it again, and see `pip check` for torch and mlflow"

# What loading imports comes before the question; where torch keeps its archives elsewhere, loading brings it.
# At the end nothing is taken apart, which would cost a second.
READ_BACK = """
import gc
gc.disable()
import sys
sys.modules["rnnpipe"] = None
import contextlib
import json
import os
import mlflow.pyfunc
import mlflow.pytorch
import numpy
with contextlib.suppress(ImportError):
    import torch.export.pt2_archive, torch.export._trace
print("ready", flush=True)
question = sys.stdin.readline()
if not question:
    os._exit(0)
asked = json.loads(question)
os.environ.update(asked["environment"])
os.chdir(asked["folder"])
model = mlflow.pyfunc.load_model(asked["model"], suppress_warnings=True)
for batch in asked["batches"]:
    images = numpy.load(f"images-{batch}.npy", allow_pickle=False)
    numpy.save(f"probabilities-{batch}.npy", model.predict(images), allow_pickle=False)
os._exit(0)
"""


class Stranger:
    """A clean process that predicts with one stored model.

    Started before the model is there, it imports meanwhile what loading takes; it ends with the block, and with
    the process that started it, because its input does.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._places = {"MLFLOW_TRACKING_URI": tracking_uri, "MLFLOW_REGISTRY_URI": tracking_uri}

    def __enter__(self) -> Self:
        self._process = _waiting.pop() if _waiting else _start()
        if self._process.poll() is not None:  # it was killed while it waited
            _end(self._process)
            self._process = _start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._process)

    def read_back(self, model: str, folder: Path, batches: tuple[int, ...]) -> None:
        """Write `folder`/probabilities-N.npy for each images-N.npy, N in `batches`, with a model (URI or path).

        RegistrationError where the model can't be loaded or used, or takes ten minutes.
        """
        question = {"model": model, "folder": str(folder), "batches": batches, "environment": self._places}
        try:
            _, told = self._process.communicate(f"{json.dumps(question)}\n", LOAD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RegistrationError(f"{model} didn't load within {LOAD_TIMEOUT_S} s", FIX) from None
        if code := self._process.returncode:
            reason = mask_credentials((told.strip() or f"exit code {code}").splitlines()[-1])
            raise RegistrationError(f"{model} can't be used without rnnpipe: {reason}", FIX)


_waiting: list["subprocess.Popen[str]"] = []  # for the next strangers


def call_ahead() -> None:
    """Start the process of the next stranger; where there is no room for it yet, it starts when it is needed."""
    with contextlib.suppress(OSError):
        _waiting.append(_start())


def wait_until_ready() -> None:
    """Wait until the process that was called ahead has imported what loading takes, or has ended."""
    for process in _waiting:
        assert process.stdout is not None
        while line := process.stdout.readline():
            if line == READY:
                break


def send_away() -> None:
    """Kill what was called ahead and isn't needed; who waits for it waits no longer."""
    for process in _waiting:
        process.kill()


def forget() -> None:
    """Take leave of what was sent away, once nobody waits for it any more."""
    while _waiting:
        _end(_waiting.pop())


def _start() -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DEFAULT_PREDICTION_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",  # beside other work, threads that wait for each other cost seconds
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-c", READ_BACK], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()
