"""The page of a run: whole, in itself, and safe whatever stands in it."""

import html
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml

from rnnpipe.config import PipelineConfig
from rnnpipe.evaluation.groups import VariantSummary
from rnnpipe.reporting.facts import FIGURES, Failure, RunFacts, run_folder
from rnnpipe.reporting.pictures import Budget, caption_of
from rnnpipe.reporting.run_page import MAX_BYTES, run_page

FETCHING = {"src", "href", "srcset", "action", "data", "poster", "background"}
VOID = {"meta", "link", "img", "line", "polyline", "br", "input", "hr"}


class Reader(HTMLParser):
    """Notes what a page would fetch, its ids and links, its text, and whether its elements are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.open, self.fetched, self.ids, self.links = [], [], [], [], []
        self.texts: list[str] = []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [tag] * (tag not in VOID)
        for name, value in attrs:
            assert not name.startswith("on"), name
            self.fetched += [value] * (name in FETCHING and not str(value).startswith(("#", "data:")))
            self.links += [str(value)[1:]] * (name == "href" and str(value).startswith("#"))
            self.ids += [value] * (name == "id")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page_of(kept: Any, facts: RunFacts) -> str:
    return run_page(kept.workspace, facts, kept.store)


def test_it_needs_nothing_from_anywhere(kept: Any) -> None:
    page = page_of(kept, kept.run())
    found = Reader(page)
    assert found.fetched == [] and "script" not in found.tags and "@import" not in page and "url(" not in page
    assert len(found.ids) == len(set(found.ids)) and set(found.links) <= set(found.ids)
    assert {"verdict", "leaderboard", "figures", "stages", "config", "again"} <= set(found.links)


def test_it_says_what_came_out_and_why(kept: Any) -> None:
    text = Reader(page_of(kept, kept.run())).text
    for part in (
        "PROMOTE models:/shapes/1 : 90.00 % on 300 test images, and there was no champion.",
        "86.08 to 92.91 %", "270 of 300", "half of the answers stay what they are from step 2 of 2 on",
        "highest validation accuracy of 2 models (0.9000)", "rnnpipe reproduce models:/shapes/1",
        "nn.GRU, one layer of 8", "Accuracy on validation images by epoch",
    ):  # fmt: skip
        assert part in text, part


def test_what_stands_in_it_is_escaped(kept: Any) -> None:
    failure = Failure(label="<script>x</script>", message='"><img src=x onerror=y>', fix="<b>")
    facts = kept.run().model_copy(update={"failures": (failure,), "drift": "</dd><script>z</script>"})
    found = Reader(page_of(kept, facts))
    assert "script" not in found.tags and "<script>z</script>" in found.text
    assert '"><img src=x onerror=y>' in found.text and "<i>nothing</i> like it" in found.text


def test_figures_stand_in_their_order_with_captions(kept: Any) -> None:
    facts = kept.run()
    of_run = run_folder(kept.workspace, facts.run) / FIGURES
    of_run.mkdir()
    (of_run / "fixed.png").write_bytes((next(kept.store.root.rglob("per_class.png"))).read_bytes())
    page = page_of(kept, facts)
    captions = re.findall(r"<figcaption>(.*?)</figcaption></figure>", page)
    matrix, classes = "Which classes are taken for which", "How well each class is recognised, with 95 % intervals"
    fixed = "Test images that this model gets right and the champion got wrong"
    assert captions == [matrix, classes, "Unknown kind", fixed, matrix, classes, "Unknown kind"]
    assert page.count('src="data:image/png;base64,') == len(captions)
    assert '<img src="data:image/png;base64,' in page and 'width="1" height="1"' in page


def test_a_run_in_which_nothing_changed_shows_the_figures_of_the_one_that_drew_them(kept: Any) -> None:
    facts = kept.run()
    of_run = run_folder(kept.workspace, facts.run) / FIGURES
    of_run.mkdir()
    (of_run / "gradient_reach.png").write_bytes((next(kept.store.root.rglob("per_class.png"))).read_bytes())
    again = facts.model_copy(update={"run": "0a0a0a0a"})
    assert "How far gradients reach back" in page_of(kept, again)
    other = again.model_copy(update={"trained": again.trained[:1]})  # not the same models
    assert "How far gradients reach back" not in page_of(kept, other)


def test_it_stays_small_enough_to_be_sent(kept: Any) -> None:
    page = page_of(kept, kept.run(wrong=(30, 60, 70, 80), figure_bytes=400_000))
    assert 3_000_000 < len(page.encode()) < MAX_BYTES
    assert "4 more figures don't fit" in " ".join(page.split())


def test_a_budget_counts_what_it_leaves_out(tmp_path: Any) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 992)
    budget = Budget(2000)
    (picture,) = budget.pictures(tmp_path.glob("*.png"))
    assert picture.caption == "A" and budget.left_out == 1
    assert caption_of(tmp_path / "accuracy_against_cost.png") == "Accuracy against size and latency"


def test_the_config_on_it_is_the_run_s(kept: Any) -> None:
    facts = kept.run(training={"epochs": 3}, data={"name": "digits"})
    (found,) = re.findall(r'aria-label="The config">(.*?)</pre>', page_of(kept, facts), re.DOTALL)
    assert PipelineConfig.model_validate(yaml.safe_load(html.unescape(found))) == facts.config


def test_it_is_made_of_what_is_left_of_a_run(kept: Any) -> None:
    facts = kept.run()
    for path in kept.store.root.rglob("manifest.json"):
        path.unlink()
    found = Reader(page_of(kept, facts))
    assert "img" not in found.tags and "figures" not in found.links and "270" in found.text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"verdict": None, "tracked": False, "model_uri": ""},
            "MLflow doesn't hold this run. rnnpipe sync sends it.",
        ),
        ({"verdict": None, "model_uri": ""}, "No model was to be registered"),
    ],
)
def test_without_a_verdict_it_says_why(kept: Any, fields: dict[str, Any], text: str) -> None:
    page = Reader(page_of(kept, kept.run().model_copy(update=fields)))
    assert text in page.text and "rnnpipe reproduce" not in page.text


def test_what_was_champion_before_is_unchanged(kept: Any) -> None:
    facts = kept.run()
    verdict = facts.verdict.model_copy(update={"champion_version": facts.model_uri})
    changed = facts.model_copy(update={"verdict": verdict})
    assert changed.is_unchanged and "UNCHANGED models:/shapes/1" in Reader(page_of(kept, changed)).text


def test_several_seeds_are_told_with_their_means_and_groups(kept: Any) -> None:
    facts = kept.run(seeds=[0, 1])
    assert "Over the seeds" not in page_of(kept, facts), "of an older run nothing is known of them"
    variants = tuple(
        VariantSummary(label=label, seeds=2, accuracy=mean, accuracy_low=0.5, accuracy_high=0.95, group=group)
        for group, (label, mean) in enumerate((("gru-8x1", 0.912), ("gru-9x1", 0.8)), start=1)
    )
    board = facts.leaderboard.model_copy(update={"variants": variants})
    text = Reader(page_of(kept, facts.model_copy(update={"leaderboard": board}))).text
    assert "1 gru-8x1 2 91.20 % 50.00 to 95.00 %" in text and "aren't told apart by these test images" in text
