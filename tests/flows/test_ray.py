"""The engine `ray` on a real cluster, each node with a workspace of its own; one of them is killed."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from tracking_helpers import mlflow_server
from workspaces import ROOT, Workspace, free_port, wait_for

from rnnpipe.files import read_json, sha256_file
from rnnpipe.processes.lifetime import stop_process
from rnnpipe.store import MANIFEST
from rnnpipe.training.journal import read_journal

pytestmark = pytest.mark.timeout(3000)

ray = pytest.importorskip("ray")
LOOPBACK, EPOCHS, PATIENCE_S = "127.0.0.1", 40, 1200.0
VARIANTS = [{"name": "gru", "hidden_size": 16, "num_layers": 1}, {"name": "rnn", "hidden_size": 16}]
UNREGISTERED = {"register_model": False}
TRAINING = {"batch_size": 8, "learning_rate": 0.003, "preflight": False}


@dataclass(frozen=True)
class Shared:
    """Where the nodes leave files for each other, the folder they lie in, and what each machine has to know."""

    url: str
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)


@dataclass
class Nodes:
    """A cluster on this machine, each node with a folder of its own, which stands for a machine's disk."""

    folder: Path
    cluster: Any
    variables: dict[str, str]
    homes: dict[str, Path] = field(default_factory=dict)
    nodes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, cpus: int = 1) -> None:
        self.homes[name] = self.folder / name / "home"
        variables = {
            "RNNPIPE_HOME": str(self.homes[name]), "RNNPIPE_LOCKS": str(self.folder / name / "locks"),
            "PYTHONPATH": os.environ["PYTHONPATH"], "RAY_worker_niceness": "0", **self.variables,
        }  # fmt: skip
        self.nodes[name] = self.cluster.add_node(
            num_cpus=cpus, num_gpus=0, node_ip_address=LOOPBACK, env_vars=variables, include_dashboard=False,
            object_store_memory=100 << 20,
        )  # fmt: skip

    def processes(self, name: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("RNNPIPE_HOME") == str(self.homes[name]):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, name: str) -> None:
        """Kill all that runs there, at once, as a machine that is switched off."""
        for process in self.processes(name):
            process.kill()

    def trainings(self, name: str) -> list[Path]:
        return [path for path in self.homes[name].glob("node/trainings/*/") if path.is_dir()]


@pytest.fixture
def shared(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shared]:
    """A folder, or an MLflow server's artifacts: then the nodes share no disk."""
    if getattr(request, "param", "folder") == "folder":
        yield Shared(str(tmp_path / "exchange"), tmp_path / "exchange")
        return
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as (uri, _):
        folder = tmp_path / "server" / "mlartifacts" / "exchange"
        yield Shared("mlflow-artifacts:/exchange", folder, {"MLFLOW_TRACKING_URI": uri})


@pytest.fixture
def nodes(
    tmp_path: Path, shared: Shared, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Nodes]:
    """Three nodes, of one CPU each if nothing else is said. The first one has to live: it holds the cluster."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(dict.fromkeys([str(ROOT), *others])))
    nodes, of_a_node = Nodes(tmp_path, Cluster(), shared.variables), getattr(request, "param", (1, 1, 1))
    for name, cpus in zip(("first", "second", "third"), of_a_node, strict=True):
        nodes.add(name, cpus)
    nodes.cluster.wait_for_nodes()
    yield nodes
    for name in nodes.homes:
        nodes.kill(name)
    nodes.cluster.shutdown()


@pytest.fixture
def make_driver(tmp_path: Path) -> Iterator[Any]:
    """Return a maker of workspaces in which nothing lives after the test."""
    made: list[Workspace] = []

    def make(name: str) -> Workspace:
        (tmp_path / name).mkdir()
        made.append(Workspace(tmp_path / name))
        others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        made[-1].environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *others]))
        made[-1].environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the cluster's address is loopback's
        return made[-1]

    yield make
    for workspace in made:
        for process in workspace.processes():
            stop_process(process)


def config_of(workspace: Workspace, epochs: int, **execution: Any) -> Path:
    return workspace.config(
        "spread", variants=VARIANTS, seeds=[0, 1], training={**TRAINING, "epochs": epochs},
        execution={"device": "cpu", "checkpoint_every_s": 0.5, **execution}, registry=UNREGISTERED,
    )  # fmt: skip


def results(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Return the digests of what each training made, by its key."""
    found = {}
    for manifest in workspace.manifests("trainings"):
        files = read_json(manifest)["files"]
        assert all(sha256_file(manifest.parent / name) == digest for name, digest in files.items())
        content = {name: digest for name, digest in files.items() if not name.startswith("log/")}
        found[manifest.parent.name] = content
    return found


def leaderboard(workspace: Workspace) -> list[Any]:
    (path,) = workspace.home.glob("runs/*/run.json")
    rows = read_json(path)["leaderboard"]["rows"]
    measured = ("train_wall_s", "train_samples_per_s", "latency_ms_p50", "samples_per_s")  # by the clock
    return [{name: row[name] for name in row if name not in measured} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["folder", "mlflow"], indirect=True)
def test_a_node_dies_and_its_training_ends_elsewhere_with_the_same_bytes(
    nodes: Nodes, shared: Shared, make_driver: Any
) -> None:
    driver, alone = make_driver("driver"), make_driver("alone")
    driver.environment |= shared.variables
    options = {"address": nodes.cluster.address, "exchange": shared.url}
    with driver.start("run", config_of(driver, EPOCHS, engine="ray", ray=options)) as process:

        def checkpoints(name: str) -> list[Path]:
            """Return the listings of what this node's trainings have left for others."""
            places = [shared.folder / "trainings" / path.name for path in nodes.trainings(name)]
            return [path for place in places for path in place.glob("work-*/listing.json")]

        wait_for(
            lambda: process.poll() is not None or (checkpoints("second") and checkpoints("third")), PATIENCE_S
        )
        assert process.poll() is None, process.communicate()
        nodes.kill("second")
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out + err
    with alone.start("run", config_of(alone, EPOCHS)) as undisturbed:
        told = undisturbed.communicate(timeout=PATIENCE_S)
    assert undisturbed.returncode == 0, told
    assert results(driver) == results(alone) and len(results(driver)) == 4
    assert leaderboard(driver) == leaderboard(alone)
    events = [event for path in driver.manifests("trainings") for event in read_journal(path.parent)]
    resumed = [event for event in events if event["event"] == "resumed"]
    assert resumed and all(event["step"] > 0 for event in resumed)
    for name in ("first", "third"):
        assert list(nodes.homes[name].glob(f"store/sequences/*/{MANIFEST}")), "it made the sequences itself"
        assert nodes.trainings(name) == []
    assert not list(shared.folder.glob("trainings/*"))
    again = driver.rnnpipe("run", config_of(driver, EPOCHS, engine="local", ray=options))
    assert again.code == 0 and "skipped" in again.out + again.err


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [(0, 1, 1)], indirect=True)
@pytest.mark.parametrize("role", ["leads", "lends"])
def test_two_nodes_share_a_training_and_one_dies(
    nodes: Nodes, role: str, make_driver: Any, tmp_path: Path
) -> None:
    driver, alone = make_driver("driver"), make_driver("alone")
    shared = {"variants": VARIANTS[:1], "seeds": [0], "registry": UNREGISTERED}
    training = {**TRAINING, "epochs": EPOCHS}
    execution = {"device": "cpu", "checkpoint_every_s": 0.5, "processes": 2}
    options = {"address": nodes.cluster.address, "exchange": str(tmp_path / "exchange"), "nodes": 2}
    spread = {**execution, "engine": "ray", "ray": options}
    config = driver.config("shared", training=training, execution=spread, **shared)
    with driver.start("run", config) as process:

        def has_begun() -> bool:
            return bool(list(tmp_path.glob("exchange/trainings/*/work-*/listing.json")))

        wait_for(lambda: process.poll() is not None or has_begun(), PATIENCE_S)
        assert process.poll() is None, process.communicate()
        (leading,) = (name for name in ("second", "third") if nodes.trainings(name))
        (lending,) = {"second", "third"} - {leading}
        nodes.kill(leading if role == "leads" else lending)
        nodes.add("fourth")
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out + err
    told = alone.rnnpipe("run", alone.config("shared", training=training, execution=execution, **shared))
    assert told.code == 0, told.err
    assert results(driver) == results(alone) and len(results(driver)) == 1
    assert leaderboard(driver) == leaderboard(alone)
    (manifest,) = driver.manifests("trainings")
    events = read_journal(manifest.parent)
    assert [event["step"] > 0 for event in events if event["event"] == "resumed"] == [True]
    assert not list((tmp_path / "exchange/trainings").iterdir())


def test_a_cluster_started_for_the_run_is_gone_afterwards_and_listens_on_loopback(make_driver: Any) -> None:
    driver = make_driver("driver")
    seen: set[str] = set()
    with driver.start("run", driver.config("tiny", execution={"engine": "ray"}, registry=UNREGISTERED)) as process:

        def look() -> bool:
            for each in driver.processes():
                try:
                    for place in each.net_connections("inet"):
                        if place.status == psutil.CONN_LISTEN:
                            seen.add(str(place.laddr.ip))
                except psutil.Error:
                    continue
            time.sleep(1)  # looking is work too
            return process.poll() is not None

        wait_for(look, PATIENCE_S)
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert len(results(driver)) == 2
    assert seen and seen <= {LOOPBACK, f"::ffff:{LOOPBACK}", "::1"}
    wait_for(lambda: not driver.processes())


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told_at_once(make_driver: Any, tmp_path: Path) -> None:
    driver, port = make_driver("driver"), free_port()
    options = {"address": f"{LOOPBACK}:{port}", "exchange": str(tmp_path / "exchange")}
    done = driver.rnnpipe("run", driver.config("tiny", execution={"engine": "ray", "ray": options}))
    assert done.code == 7 and f"the Ray cluster at {LOOPBACK}:{port} can't be reached" in done.err


@pytest.mark.slow
def test_a_training_that_no_node_has_room_for_is_told(make_driver: Any) -> None:
    driver = make_driver("driver")
    execution = {"engine": "ray", "ray": {"cpus": 1000}}
    done = driver.rnnpipe("run", driver.config("tiny", execution=execution))
    assert done.code == 7 and "a training is to get 1000 CPUs" in done.err and "execution.ray.cpus" in done.err


@pytest.mark.slow
def test_a_sweep_on_a_cluster_finds_what_one_on_this_machine_finds(make_driver: Any) -> None:
    pytest.importorskip("optuna")
    plan = {
        "trials": 8, "parallel": 1,
        "parameters": {"training.learning_rate": {"low": 0.0001, "high": 0.1, "log": True}},
    }  # fmt: skip
    found = {}
    for engine in ("ray", "local"):
        workspace = make_driver(engine)
        config = workspace.config(
            "tuned", variants=VARIANTS[:1], training={**TRAINING, "epochs": 6}, execution={"engine": engine},
            sweep=plan,
        )  # fmt: skip
        done = workspace.rnnpipe("sweep", config)
        assert done.code == 0, done.err
        (path,) = workspace.home.glob("sweeps/tuned-????????/sweep.json")
        facts = read_json(path)
        # how soon a pruned training stops is a matter of time, not what it is pruned for
        found[engine] = [{**each, "ended_at_ms": None} for each in facts["trials"]]
        assert {each["state"] for each in found[engine]} <= {"complete", "pruned"}
    assert found["ray"] == found["local"]
