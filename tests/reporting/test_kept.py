"""What the workspace keeps of runs, and how they are found."""

import os
from typing import Any

import pytest
import yaml

from rnnpipe.errors import ConfigError, DataError
from rnnpipe.reporting.facts import FACTS_FILE, kept_facts, newest_facts, read_facts, run_folder
from rnnpipe.reporting.kept import find_kept, kept_side, trained_by


def test_a_run_is_read_as_it_was_kept(kept: Any) -> None:
    facts = kept.run()
    assert read_facts(kept.workspace, facts.run) == facts and facts.best.label == "gru-8x1 s0"
    assert find_kept(kept.workspace, facts.run) == facts
    assert find_kept(kept.workspace, "models:/shapes/1") is find_kept(kept.workspace, "ffffffff") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b'{"run": 1}'])
def test_what_is_damaged_counts_as_not_kept(kept: Any, content: bytes) -> None:
    facts = kept.run()
    (run_folder(kept.workspace, facts.run) / FACTS_FILE).write_bytes(content)
    assert read_facts(kept.workspace, facts.run) is None and kept_facts(kept.workspace) == []


def test_a_config_means_its_last_run(kept: Any, tmp_path: Any) -> None:
    path = tmp_path / "shapes.yaml"
    first, second = kept.run("00000001"), kept.run("00000002")
    third = kept.run("00000003", training={"epochs": 7})
    for age, facts in enumerate((first, second, third)):
        file = run_folder(kept.workspace, facts.run) / FACTS_FILE
        os.utime(file, ns=(age * 10**9, age * 10**9))
    path.write_text(yaml.safe_dump(second.config.as_json()))
    assert find_kept(kept.workspace, str(path)) == second
    path.write_text(yaml.safe_dump({**second.config.as_json(), "seeds": [5]}))
    assert find_kept(kept.workspace, str(path)) == third, "the last one of that name"
    path.write_text(yaml.safe_dump({**second.config.as_json(), "name": "other"}))
    with pytest.raises(ConfigError, match="no run of"):
        find_kept(kept.workspace, str(path))


def test_a_run_s_best_model_is_a_side(kept: Any) -> None:
    facts = kept.run()
    side = kept_side(kept.workspace, facts.run)
    assert side.name == "run 0123abcd, gru-8x1 s0" and side.standing.correct == 270
    assert side.images == facts.dataset.digest and side.params["training"] == facts.config.training.model_dump()
    found = trained_by(kept.workspace, facts.trained[1].training.key)
    assert found == (facts, facts.trained[1]) and trained_by(kept.workspace, "0") is None
    next(kept.store.root.glob(f"evaluations/{facts.best.evaluation.key}/manifest.json")).unlink()
    with pytest.raises(DataError, match="aren't in the store any more"):
        kept_side(kept.workspace, facts.run)


def test_runs_kept_since_a_time_are_read_alone(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = kept.run("00000001"), kept.run("00000002")
    for at_ms, facts in ((first.at_ms - 5000, first), (second.at_ms + 5000, second)):
        os.utime(run_folder(kept.workspace, facts.run) / FACTS_FILE, ns=(at_ms * 10**6, at_ms * 10**6))
    assert kept_facts(kept.workspace, second.at_ms) == [second]
    assert kept_facts(kept.workspace, second.at_ms + 1000) == []
    read = list[Any]()
    monkeypatch.setattr("rnnpipe.reporting.facts.read_json", lambda path: read.append(path) or {})
    assert kept_facts(kept.workspace, second.at_ms + 6000) == read == []
    assert next(newest_facts(kept.workspace), None) is None and len(read) == 2
