"""The history of registered models, and the figure of it in MLflow."""

from pathlib import Path

import pytest
from registry_helpers import NAME, Registry

from rnnpipe.errors import TrackingError
from rnnpipe.evaluation.promotion import Decision
from rnnpipe.evaluation.statistics import wilson_interval
from rnnpipe.tracking import trend
from rnnpipe.tracking.client import download
from rnnpipe.tracking.history import VersionHistory, read_models, spark_line, standings_of
from rnnpipe.tracking.promotion import DETAILS_TAG
from rnnpipe.tracking.registry import Version
from rnnpipe.tracking.trend import EXPERIMENT, publish_trend


def standings(place: Registry) -> list[VersionHistory]:
    (model,) = read_models(place.tracking, NAME)
    return standings_of(model)


def with_accuracies(*shares: float | None, data: str = "a") -> list[VersionHistory]:
    version = Version("n", 1, "", "", {}, "")
    digests = data.ljust(len(shares), data[-1])
    return [
        VersionHistory(version, [], "", "", "", digest, accuracy=share)
        for share, digest in zip(shares, digests, strict=True)
    ]


def test_an_empty_registry_has_no_models(place: Registry) -> None:
    assert read_models(place.tracking) == []
    with pytest.raises(TrackingError, match=f"no model {NAME} is registered"):
        read_models(place.tracking, NAME)


def test_every_version_is_read_with_its_verdict_and_aliases(place: Registry) -> None:
    for number in range(1, 12):  # ten comes after two
        place.judge(place.version(f"f{number}", images="d" * 64), Decision.HOLD, correct=900 + number)
    place.version("unjudged")
    place.tracking.client.set_registered_model_alias(NAME, "champion", "11")
    place.tracking.client.create_registered_model("it's")  # not rnnpipe's
    found = standings(place)
    assert [each.version.number for each in found] == list(range(1, 13))
    tenth, eleventh, last = found[9:]
    assert (eleventh.aliases, eleventh.verdict, eleventh.reason) == (["champion"], "HOLD", "so it is hold")
    assert (tenth.aliases, tenth.correct, tenth.total, tenth.accuracy) == ([], 910, 1000, 0.91)
    assert (tenth.accuracy_low, tenth.accuracy_high) == wilson_interval(910, 1000)
    assert eleventh.dataset_digest == "d" * 64 and eleventh.version.created_at_ms > 0
    assert (last.verdict, last.accuracy, last.accuracy_low, last.dataset_digest) == ("", None, None, "")
    assert [model.name for model in read_models(place.tracking)] == [NAME, "it's"]


@pytest.mark.parametrize(
    "details",
    ["", "{", "[]", "7", '{"total": 10}', '{"candidate_correct": 11, "total": 10}',
     '{"candidate_correct": "9", "total": 10}', '{"candidate_correct": 0, "total": 0}'],
)  # fmt: skip
def test_details_that_are_odd_are_left_out(place: Registry, details: str) -> None:
    version = place.version("odd")
    place.tracking.client.set_model_version_tag(NAME, str(version.number), DETAILS_TAG, details)
    assert standings(place)[0].accuracy is None


def test_the_spark_line_goes_from_the_lowest_to_the_highest() -> None:
    assert spark_line(with_accuracies(0.90, 0.95, 0.92, 0.97)) == "▁▆▃█"
    assert spark_line(with_accuracies(0.9, None, 0.9)) == "██"
    assert spark_line(with_accuracies(0.9, 0.95, 0.95, data="aab")) == "▁█│█"
    assert spark_line(with_accuracies(None)) == spark_line([]) == ""


def test_the_figure_is_drawn_once_and_replaced_when_something_changes(
    place: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, drawn = place.tracking.client, []
    draw = trend._log_figure
    monkeypatch.setattr(trend, "_log_figure", lambda *given: drawn.append(given) or draw(*given))
    place.version("unjudged")
    publish_trend(place.tracking, place.workspace, *read_models(place.tracking, NAME))
    assert not drawn and not client.get_registered_model(NAME).description
    client.update_registered_model(NAME, "Ours.")
    place.judge(place.version("first"), Decision.PROMOTE, correct=900)
    pictures = []
    for _ in range(2):
        for _ in range(2):
            publish_trend(place.tracking, place.workspace, *read_models(place.tracking, NAME))
        (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
        (artifact,) = client.list_artifacts(run.info.run_id)
        target = tmp_path / str(len(pictures))
        target.mkdir()
        path = download(place.tracking, f"runs:/{run.info.run_id}/{artifact.path}", target)
        pictures.append(path.read_bytes())
        assert (run.info.run_name, run.info.status, artifact.path) == (NAME, "FINISHED", "trend.png")
        shown = f"![trend](get-artifact?path=trend.png&run_uuid={run.info.run_id})"
        description = client.get_registered_model(NAME).description
        assert description.startswith(f"Ours.\n\n**Trend:**\n\n{shown}\n\n**Champion:**")
        assert ("| version | 2 |" in description) == (len(pictures) == 2)
        client.set_registered_model_alias(NAME, "champion", "2")
    assert len(drawn) == 2 and pictures[0] != pictures[1] and pictures[0].startswith(b"\x89PNG")
