"""What a run starts before Prefect is imported: the fork server, with what is needed first at the front."""

import math
from types import SimpleNamespace
from typing import Any, Self

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

from flows import ahead
from flows.letting_go import without_heartbeats
from flows.progress import seconds_left
from rnnpipe.catalogue import DATASETS, SEQUENCES, DatasetSpec
from rnnpipe.config import PipelineConfig
from rnnpipe.training.supervise import PRELOADED

CONFIG = PipelineConfig.model_validate({"data": {"name": "digits"}, "variants": [{"name": "gru"}]})


class Recorded:
    """Stands in for the launcher."""

    def __init__(self, preload: list[str]) -> None:
        self.preload, self.is_warm = preload, False

    def warm_up(self) -> Self:
        self.is_warm = True
        return self


def started(monkeypatch: pytest.MonkeyPatch, *outputs: object) -> list[Any]:
    """Return the launchers that were started, given what is stored of images, sequences and the rest."""
    launchers: list[Any] = []
    monkeypatch.setattr(ahead, "_launchers", launchers)
    monkeypatch.setattr(ahead, "Launcher", Recorded)
    monkeypatch.setattr(ahead, "forecast", lambda *_: [SimpleNamespace(output=each) for each in outputs])
    ahead.start_ahead(CONFIG)
    return launchers


def test_what_makes_the_data_is_imported_first(monkeypatch: pytest.MonkeyPatch) -> None:
    (launcher,) = started(monkeypatch, None, None, None)
    images, sequences = (spec.target.partition(":")[0] for spec in (DATASETS["digits"], SEQUENCES["rows"]))
    expected = ["rnnpipe.data.pictures", images, "sklearn.model_selection", sequences]
    assert launcher.is_warm and launcher.preload == [*expected, *PRELOADED]


def test_stored_data_need_nothing_and_a_run_without_work_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (launcher,) = started(monkeypatch, "images", "sequences", None)
    assert launcher.preload == list(PRELOADED)
    assert started(monkeypatch, "images", "sequences", "training") == []


def test_a_plug_in_is_left_to_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = DatasetSpec("one's own", load="somewhere:load", origin="a package")
    monkeypatch.setitem(DATASETS, "digits", plug_in)
    (launcher,) = started(monkeypatch, None, "sequences", None)
    assert launcher.preload == ["rnnpipe.data.pictures", *PRELOADED]


def test_a_run_sends_no_heartbeats_but_where_somebody_has_set_how_often() -> None:
    with without_heartbeats():
        assert get_current_settings().flows.heartbeat_frequency is None
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 45}), without_heartbeats():
        assert get_current_settings().flows.heartbeat_frequency == 45


@pytest.mark.parametrize(
    ("events", "epochs", "left_s"),
    [
        ([], 1, 0.0),
        ([], 2, math.inf),
        ([{"event": "steps"}], 2, math.inf),
        ([{"event": "epoch", "epoch": 1, "wall_s": 7.0}, {"event": "epoch", "epoch": 2, "wall_s": 8.0}], 5, 24.0),
        ([{"event": "epoch", "epoch": 5, "wall_s": 8.0}], 5, 0.0),
    ],
)
def test_how_long_a_training_still_takes(events: list[dict[str, Any]], epochs: int, left_s: float) -> None:
    assert seconds_left(events, epochs) == left_s
