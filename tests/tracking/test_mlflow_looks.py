from pathlib import Path

import pytest
from tracking_helpers import DATASET, START_MS, Finished, MakeModel

from rnnpipe.references import StageRef
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.export import log_deployed_model
from rnnpipe.tracking.looks import count_looks
from rnnpipe.tracking.recording import record_run
from rnnpipe.tracking.registry import Candidate, Version
from rnnpipe.tracking.runs import finish_run, start_run

SEEN = DATASET.model_copy(update={"digest": "5ee" + "0" * 61})
OTHER = DATASET.model_copy(update={"digest": "07" + "0" * 62})


def record(tracking: Tracking, finished: Finished, dataset: StageRef = SEEN) -> str:
    return record_run(
        tracking, finished.spec, training=finished.training, evaluation=finished.evaluation, dataset=dataset
    )


@pytest.fixture(scope="module")
def champion(tracking: Tracking, make_model: MakeModel, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A champion that two models were measured before, one of them itself."""
    record(tracking, Finished(tmp_path_factory.mktemp("before"), "before"))
    run_id = record(tracking, Finished(tmp_path_factory.mktemp("itself"), "itself"))
    uri = log_deployed_model(tracking, run_id, make_model("basic", 1), step=1, tags={})
    return registry.register(tracking, "looked-at", Candidate(uri, run_id, "f1", {}, "A net."))


def test_each_training_measured_since_counts_once(
    tracking: Tracking, champion: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks() -> int:
        return count_looks(tracking, champion, SEEN.digest)

    assert looks() == 0
    first = Finished(tmp_path, "first")
    killed = start_run(tracking, first.spec)  # what isn't measured yet has looked at nothing
    finish_run(tracking, killed, "KILLED", START_MS)
    assert looks() == 0
    for _ in range(2):
        assert record(tracking, first) == killed
        assert looks() == 1

    again = first.evaluated(tmp_path / "again", latency_ms=0.7)  # the same model, measured once more
    record_run(tracking, first.spec, training=first.training, evaluation=again, dataset=SEEN)
    assert looks() == 1

    workspace = tracking.lock_path.parent
    elsewhere = open_tracking(sqlite_uri(workspace / "mlflow.db"), "another", workspace)
    second = record(elsewhere, Finished(tmp_path / "second", "second"))
    record(elsewhere, first)  # known by its key, in whatever experiment
    record(tracking, Finished(tmp_path / "third", "third"), OTHER)
    assert looks() == 2
    assert count_looks(tracking, champion, OTHER.digest) == 1

    tracking.client.delete_run(second)
    assert looks() == 2, "what was looked at stays looked at"
    monkeypatch.setattr("rnnpipe.tracking.looks.PAGE", 1)
    assert looks() == 2, "on however many pages"
