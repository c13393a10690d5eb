"""The page and the figures of a sweep, of facts that nothing was trained for."""

from pathlib import Path
from typing import Any

from PIL import Image

from rnnpipe.config import PipelineConfig
from rnnpipe.reporting.sweep_page import draw_sweep, interval_of, show_value, sweep_page
from rnnpipe.sweeping.facts import FIGURES, SweepFacts, TrialFacts

SPACE = {
    "training.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "variants.0.bidirectional": {"choices": [True, False]},
    "training.gradient_clip_norm": {"choices": [None, 1.0]},
    "training.batch_size": {"low": 16, "high": 64, "step": 16},
}


def trial(number: int, state: Any, accuracy: float | None, **facts: Any) -> TrialFacts:
    values = {
        "training.learning_rate": 0.001 * (number + 1), "variants.0.bidirectional": number % 2 == 0,
        "training.gradient_clip_norm": None if number % 3 else 1.0, "training.batch_size": 16,
    }  # fmt: skip
    return TrialFacts(number=number, state=state, values=values, accuracy=accuracy, epochs=3, **facts)


def facts_of(*trials: TrialFacts, seeds: int = 1, **facts: Any) -> SweepFacts:
    config = PipelineConfig.model_validate(
        {"name": "tune", "variants": [{"name": "gru"}], "seeds": seeds, "sweep": {"parameters": SPACE}}
    )
    return SweepFacts(name="tune-1234abcd", config=config, validated=200, trials=trials, **facts)


FOUR = (
    trial(0, "complete", 0.9), trial(1, "complete", 0.95), trial(2, "pruned", 0.5),
    trial(3, "failed", None, error="the loss of <epoch> 1 isn't finite"),
)  # fmt: skip


def test_a_sweep_is_drawn_and_told_on_one_page(tmp_path: Path) -> None:
    facts = facts_of(*FOUR, importance={"training.learning_rate": 0.7, "variants.0.bidirectional": 0.1})
    drawn = draw_sweep(tmp_path / FIGURES, facts)
    assert [path.stem for path in drawn] == ["trials", "parallel_coordinates", "importance"]
    for path in drawn:
        with Image.open(path) as picture:
            assert picture.width > 500 and len(picture.convert("L").getcolors() or ()) > 20
    assert [path.read_bytes() for path in draw_sweep(tmp_path / "again", facts)] == [p.read_bytes() for p in drawn]
    page = sweep_page(tmp_path, facts)
    for text in (
        "Best: trial 1", "95.00 %", "91.04 %", "97.26 %", "4 trials: 2 complete, 1 pruned, 1 failed",
        "the loss of &lt;epoch&gt; 1 isn&#39;t finite", "rnnpipe run best.yaml", "0.001 to 0.1, by magnitude",
        "true, false", "null, 1", "16 to 64, in steps of 16",
    ):  # fmt: skip
        assert text in page, text
    assert page.count("data:image/png;base64,") == 3 and "http" not in page.replace("http://www.w3.org", "")
    assert page.index(">1</th>") < page.index(">0</th>") < page.index(">2</th>") < page.index(">3</th>")


def test_where_nothing_has_finished_the_page_says_so(tmp_path: Path) -> None:
    for trials in ((), FOUR[2:]):
        facts = facts_of(*trials)
        assert draw_sweep(tmp_path / FIGURES, facts) == []
        page = sweep_page(tmp_path, facts)
        assert "No trial has finished" in page and "Best: trial" not in page


def test_one_finished_trial_is_drawn(tmp_path: Path) -> None:
    assert len(draw_sweep(tmp_path, facts_of(FOUR[0]))) == 2


def test_a_mean_over_seeds_has_no_interval_of_one_net(tmp_path: Path) -> None:
    facts = facts_of(*FOUR, seeds=3)
    assert facts.best is not None and interval_of(facts, facts.best) is None
    assert "mean over" in sweep_page(tmp_path, facts)


def test_values_are_shown_short() -> None:
    assert [show_value(each) for each in (True, None, 0.0012345678, 64, "gru", 1e-5)] == [
        "true", "null", "0.001235", "64", "gru", "1e-05",
    ]  # fmt: skip
