"""The job that the campaign disturbs: the whole pipeline on few images, in a fork of this process, in seconds.

What this process has imported is imported once for thousands of runs. Three things are cheaper than for users: the
fork server is a fork, not a fresh interpreter; the stored model is read back in the same process; MLflow's empty
tables are copied, not migrated. Prefect's address leads nowhere, so that the run does without.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from rnnpipe import faults
from rnnpipe.catalogue import VARIANTS
from rnnpipe.config import PipelineConfig
from rnnpipe.files import digest_of
from rnnpipe.processes import launcher, slots
from rnnpipe.processes.forkserver import serve

PRELOADED = (
    "flows.pipeline", "flows.run", "flows.doctor", "rnnpipe.cli.progress", "rnnpipe.cli.outcome",
    "rnnpipe.training.work", "rnnpipe.evaluation.job", "rnnpipe.data.embedded", "rnnpipe.data.pictures",
    "rnnpipe.tracking.export", "sklearn.datasets", "sklearn.metrics", "mlflow.pytorch", "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store", "torch.export", "torch._dynamo",
)  # fmt: skip
NOWHERE = "http://127.0.0.1:9/api"
LONGEST_S = 300.0
POLL_S = 0.02
HUNG = 99


def config_of(variant: str, **sections: Any) -> PipelineConfig:
    """Return the small job that trains one variant."""
    sizes = {} if variant == "single-neuron" else {"hidden_size": 6, "num_layers": 1}
    values = {
        "name": "small",
        "data": {"name": "digits", "limit": 400},
        "variants": [{"name": variant, **sizes}],
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "preflight": False},
        "execution": {"device": "cpu", "checkpoint_every_s": 0.02},
        "evaluation": {"latency_repeats": 10},
    }
    return PipelineConfig.model_validate({**values, **sections})


class ForkedServer:
    """The fork server as a fork of this process, with the face of subprocess.Popen."""

    def __init__(self, *_: Any, **__: Any) -> None:
        requests, self_in = os.pipe()
        self_out, answers = os.pipe()
        self.pid, self.returncode = os.fork(), None
        if self.pid == 0:
            os.close(self_in), os.close(self_out)
            os.dup2(requests, 0), os.dup2(answers, 1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            serve()
            os._exit(0)
        os.close(requests), os.close(answers)
        self.stdin, self.stdout = os.fdopen(self_in, "w"), os.fdopen(self_out)

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, timeout: float = LONGEST_S) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.returncode or 0


def preload() -> None:
    """Import what a run needs, so that forks find it imported."""
    os.environ.update(PREFECT_API_URL=NOWHERE, OPENBLAS_NUM_THREADS="1", MLFLOW_DISABLE_TELEMETRY="true")
    for module in PRELOADED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        _warm_up(Path(name))
    assert threading.active_count() == 1, "a fork takes one thread with it, and every lock of the others"


def _warm_up(folder: Path) -> None:
    """Do once what is slow at first: an export, a figure, MLflow's empty tables, its look at what is installed."""
    import torch
    from mlflow.db import upgrade
    from mlflow.utils import requirements_utils

    from rnnpipe.config import VariantConfig
    from rnnpipe.evaluation.deploy import Deploy, build_network
    from rnnpipe.evaluation.figures.curves import learning_curves
    from rnnpipe.evaluation.figures.style import save_figure
    from rnnpipe.evaluation.spec import ModelSpec
    from rnnpipe.models.layers import export_of_layers
    from rnnpipe.tracking.addresses import sqlite_path, sqlite_uri
    from rnnpipe.tracking.client import open_tracking

    torch.set_num_threads(1)
    facts = {
        "dataset": {}, "classes": ["a", "b"], "image_size": [8, 8], "sequence": {"name": "rows"}, "steps": 8,
        "features": 8, "mean": 0.0, "deviation": 1.0,
    }  # fmt: skip
    spec = ModelSpec.of(facts, VariantConfig(name="gru", hidden_size=4, num_layers=1))
    deploy, shapes = Deploy(spec, build_network(spec, seed=0)).eval(), ({0: torch.export.Dim.DYNAMIC},)
    with export_of_layers():
        torch.export.save(
            torch.export.export(deploy, (torch.zeros(2, 8, 8),), dynamic_shapes=shapes), folder / "model.pt2"
        )
    save_figure(learning_curves({"gru": []}), folder / "curves.png")
    requirements_utils._init_packages_to_modules_map()
    open_tracking(sqlite_uri(folder / "mlflow.db"), None, folder)
    upgrade.main([sqlite_uri(folder / "empty.db")], standalone_mode=False)
    tables = (folder / "empty.db").read_bytes()
    upgrade.main = lambda uris, **_: sqlite_path(uris[0]).write_bytes(tables)


@dataclass
class Trial:
    """A workspace in which the small job is run again and again until it comes to its end."""

    folder: Path
    config: PipelineConfig
    environment: dict[str, str] = field(default_factory=dict)
    output: Path = None  # type: ignore[assignment]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def __post_init__(self) -> None:
        # what its processes print is kept beside the folder, whose disk may be full
        self.output = self.output or self.folder.with_name(f"{self.folder.name}.txt")

    def start(self, work: Callable[[], object], **environment: str) -> int:
        """Fork a process that does `work` in this workspace, in a process group of its own; return its number."""
        pid = os.fork()
        if pid:
            return pid
        code: object = 1
        try:
            os.setpgid(0, 0)
            _redirect(self.output)
            os.environ.update(
                {**self.environment, **environment}, RNNPIPE_HOME=str(self.home),
                RNNPIPE_LOCKS=str(self.folder / "locks"), PREFECT_HOME=str(self.home / "prefect"),
            )  # fmt: skip
            with contextlib.suppress(OSError):  # a full disk is what some trials are about
                (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
            tempfile.tempdir = str(self.folder / "tmp")
            faults.arm()
            work()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(int(str(code)))

    def begin(self, fault: str = "", log: Path | None = None, command: tuple[str, ...] = ()) -> int:
        """Start the job, or another command, as the command line does; return its process' number."""
        asked = {faults.FAULT: fault, faults.FAULT_LOG: str(log or "")}
        return self.start(lambda: self._call(command), **{name: value for name, value in asked.items() if value})

    def run(self, fault: str = "", log: Path | None = None, command: tuple[str, ...] = ()) -> int:
        """Run the job, or another command, once; return its exit code, negative where a signal ended it."""
        return wait_for(self.begin(fault, log, command))

    def _call(self, command: tuple[str, ...]) -> None:
        from rnnpipe.cli import main
        from rnnpipe.tracking import export, promotion

        servers = [ForkedServer()]  # while this process has one thread
        launcher.subprocess = type("Forking", (), {  # type: ignore[assignment]
            "Popen": lambda *a, **k: servers.pop() if servers else ForkedServer(), "PIPE": -1,
        })  # fmt: skip
        promotion.Stranger = StrangerHere  # type: ignore[misc,assignment]
        export.call_ahead = lambda: None
        launcher.POLL_S = slots.POLL_S = POLL_S
        values = self.config.as_json()
        path = self.output.with_suffix(f".{digest_of(values)[:8]}.yaml")
        path.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
        main(command or ["run", str(path)])

    def told(self) -> str:
        """Return the errors that its processes printed, and the end of all they did."""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        errors = "\n".join(line for line in text.splitlines() if "error:" in line or "Error:" in line)
        return f"{errors[-2000:]}\n{text[-1000:]}"

    def is_clear(self) -> bool:
        """Say whether its processes told every error in words."""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        return "Traceback" not in text and "unexpected error" not in text


class StrangerHere(contextlib.nullcontext[None]):
    """Does what the clean process of the round trip does, in this one."""

    def __enter__(self) -> Self:
        return self

    def read_back(self, model: str, folder: Path, batches: tuple[int, ...]) -> None:
        """Write the probabilities of a stored model, which is a path."""
        import mlflow.pyfunc
        import numpy as np

        loaded = mlflow.pyfunc.load_model(model)
        for batch in batches:
            probabilities = loaded.predict(np.load(folder / f"images-{batch}.npy", allow_pickle=False))
            np.save(folder / f"probabilities-{batch}.npy", probabilities, allow_pickle=False)


def wait_for(pid: int) -> int:
    """Wait for a process of the campaign; one that hangs is killed and counts as unexpected."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    kill(pid, "all")
    os.waitpid(pid, 0)
    return HUNG


def kill(pid: int, whom: str, choice: Callable[[list[int]], int] = max) -> None:
    """Kill the run's main process, all of its processes at once as a power cut does, or one of its children."""
    children = [each.pid for each in psutil.Process(pid).children(recursive=True)]
    if whom == "all":
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(choice(children) if whom == "child" and children else pid, signal.SIGKILL)


def _redirect(path: Path) -> None:
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)


TRAINABLE = tuple(VARIANTS)
