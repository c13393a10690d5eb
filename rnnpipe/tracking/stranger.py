"""A stranger who loads a stored model: a clean process, without rnnpipe and with pickle forbidden."""

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
FIX = "the model isn't registered; train it again, and see `pip check` for torch and mlflow"

# What loading imports comes before the question; where torch keeps its archives elsewhere, loading brings it.
READ_BACK = """
import sys
sys.modules["rnnpipe"] = None
import contextlib
import json
import os
import mlflow.pyfunc
import mlflow.pytorch
import numpy
with contextlib.suppress(ImportError):
    import torch.export.pt2_archive
question = sys.stdin.readline()
if not question:
    os._exit(0)
asked = json.loads(question)
os.chdir(asked["folder"])
model = mlflow.pyfunc.load_model(asked["model"])
for batch in asked["batches"]:
    images = numpy.load(f"images-{batch}.npy", allow_pickle=False)
    numpy.save(f"probabilities-{batch}.npy", model.predict(images), allow_pickle=False)
"""


class Stranger:
    """A clean process that predicts with one stored model.

    Started before the model is there, it imports meanwhile what loading takes; it ends with the block, and with
    the process that started it, because its input does.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": tracking_uri,
            "MLFLOW_REGISTRY_URI": tracking_uri,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DEFAULT_PREDICTION_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",  # beside other work, threads that wait for each other cost seconds
        }

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", READ_BACK], env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def read_back(self, model: str, folder: Path, batches: tuple[int, ...]) -> None:
        """Write `folder`/probabilities-N.npy for each images-N.npy, N in `batches`, with a model (URI or path).

        RegistrationError where the model can't be loaded or used, or takes ten minutes.
        """
        question = {"model": model, "folder": str(folder), "batches": batches}
        try:
            _, told = self._process.communicate(f"{json.dumps(question)}\n", LOAD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RegistrationError(f"{model} didn't load within {LOAD_TIMEOUT_S} s", FIX) from None
        if code := self._process.returncode:
            reason = mask_credentials((told.strip() or f"exit code {code}").splitlines()[-1])
            raise RegistrationError(f"{model} can't be used without rnnpipe: {reason}", FIX)
