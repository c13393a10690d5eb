"""report and compare, on what the pipeline left: files that open without a network, and exit codes for scripts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_ui import PAGE_TIMEOUT_MS
from workspaces import TINY_LABELS, Workspace

from rnnpipe.reporting.facts import RUNS, kept_facts
from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import Tracking, open_tracking
from rnnpipe.tracking.registry import Version

CONTRAST = """() => {
  const luminance = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => { v /= 255;
    return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * x + .7152 * y + .0722 * z; };
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = element => { for (let e = element; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
    return [255, 255, 255]; };
  const low = [];
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || element.tagName === "title") continue;
    const style = getComputedStyle(element), isSvg = element.namespaceURI.endsWith("svg");
    const [a, b] = [parse(isSvg ? style.fill : style.color), behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push([element.tagName, element.textContent.slice(0, 30), ratio]);
  }
  return low;
}"""


@pytest.fixture
def tracking(workspace: Workspace, first_run: Any) -> Tracking:
    assert first_run.code == 0, first_run.err
    return open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "digits-rows", workspace.home)


@pytest.fixture
def first(tracking: Tracking) -> Version:
    """The version that the first run registered."""
    return registry.resolve_model_uri(tracking, "models:/digits-rows/1")


def runs_by_name(tracking: Tracking) -> dict[str, str]:
    """Return the ids of MLflow's runs of the first run, by label."""
    oldest = tracking.client.search_runs([tracking.experiment_id], order_by=["attributes.start_time ASC"])
    return {run.info.run_name: run.info.run_id for run in reversed(oldest)}


def test_a_run_has_one_page_whoever_names_it(
    workspace: Workspace, first: Version, call: Any, tmp_path: Path
) -> None:
    run = first.tags["rnnpipe.pipeline_run"]
    pages = []
    for number, name in enumerate((run, "models:/digits-rows/1", first.run_id)):
        path = tmp_path / f"{number}.html"
        done = call("report", name, "--output", path)
        assert done.code == 0, done.err
        pages.append(path.read_text(encoding="utf-8"))
        assert all(label.partition(" ")[0] in pages[-1] for label in TINY_LABELS)
    assert f"run {run}" in pages[0] and pages[0] == pages[1] and "PROMOTE" in pages[0]
    by_config = call("report", workspace.config(), "-o", tmp_path / "config.html")
    assert by_config.code == 0 and by_config.out.startswith(f"{tmp_path / 'config.html'}  run ")


def test_without_what_is_kept_the_page_comes_from_mlflow(
    workspace: Workspace, first: Version, call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = workspace.home / RUNS
    hidden = kept.rename(workspace.home / "hidden")
    try:
        done = call("report", "models:/digits-rows/1")
        unknown = call("report", "ffffffff")
        never = call("report", workspace.config())
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        hidden.rename(kept)
    assert done.code == 0, done.err
    (path,) = tmp_path.glob("report-*.html")
    assert path.read_bytes().startswith(b"<!doctype html>") and str(path.name) in done.out
    assert unknown.code == 5 and "what the run ffffffff was" in unknown.err and "fix: " in unknown.err
    assert never.code == 2 and "fix: rnnpipe run" in never.err


def test_two_models_are_compared_with_an_exit_code(
    tracking: Tracking, first: Version, call: Any, tmp_path: Path
) -> None:
    ids = runs_by_name(tracking)
    page = tmp_path / "comparison.html"
    same = call("compare", "models:/digits-rows/1", first.tags["rnnpipe.pipeline_run"], "--html", page)
    assert same.code == 0, same.err
    assert "right and wrong on the same of 360 test images" in same.out and "no field differs" in same.out
    assert "95 % intervals" in page.read_text(encoding="utf-8")
    better = call("compare", ids["single-neuron s0"], ids["gru-8x1 s0"], "--json", "--significance", "0.9")
    told = json.loads(better.out)
    expected = {"NO_EVIDENCE": 0, "A_IS_BETTER": 10, "B_IS_BETTER": 11}
    assert better.code == expected[told["outcome"]] and told["fixed"] + told["broken"] > 0
    assert told["difference"] == pytest.approx(told["b"]["accuracy"] - told["a"]["accuracy"])
    worse = json.loads(call("compare", ids["gru-8x1 s0"], ids["single-neuron s0"], "--json").out)
    assert (worse["fixed"], worse["broken"]) == (told["broken"], told["fixed"])
    assert "variant_config.name gru → single-neuron" in worse["config"]


def test_a_comparison_fits_a_screen(tracking: Tracking, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    ids = runs_by_name(tracking)
    done = call("compare", ids["single-neuron s0"], ids["gru-8x1 s0"])
    assert len(done.out.splitlines()) <= 24 and "\x1b" not in done.out
    for text in ("test accuracy", "ms an image", "size", "McNemar's exact test: p = ", "fixed, "):
        assert text in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("compare", "digits-rows", "models:/digits-rows/99"), 5, "the versions 1"),
        (("compare", "digits-rows", "0" * 32), 5, "0" * 32),
        (("compare", "digits-rows", "digits-rows", "--significance", "nan"), 2, "nan is no number"),
        (("report", "no/such.yaml"), 2, "no/such.yaml"),
        (("report", "s3://x"), 2, "names no model"),
    ],
)
def test_what_there_is_not_is_told(first: Version, call: Any, arguments: Any, code: int, text: str) -> None:
    done = call(*arguments)
    assert done.code == code and text in done.err and not done.out, done.err


@pytest.mark.browser
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_pages_open_without_a_network(
    first: Version, call: Any, tmp_path: Path, browser: Any, colours: str
) -> None:
    run, comparison = tmp_path / "run.html", tmp_path / "comparison.html"
    assert call("report", "models:/digits-rows/1", "-o", run).code == 0
    assert call("compare", "models:/digits-rows/1", "digits-rows", "--html", comparison).code in (0, 10, 11)
    context = browser.new_context(offline=True, color_scheme=colours, viewport={"width": 375, "height": 800})
    page, asked, complaints = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in (run, comparison):
        page.goto(path.as_uri(), timeout=PAGE_TIMEOUT_MS)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "too wide for a phone"
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == complaints == []


@pytest.mark.browser
def test_the_page_is_used_with_the_keyboard(first: Version, call: Any, tmp_path: Path, browser: Any) -> None:
    path = tmp_path / "run.html"
    assert call("report", "models:/digits-rows/1", "-o", path).code == 0
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(path.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_role("link", name="Config").press("Enter")
    assert page.url.endswith("#config")
    shut = page.locator("details:not([open]) > summary").first
    shut.press("Enter")
    assert page.get_by_role("table").count() >= 1
    page.locator("section[aria-labelledby=config] summary").press("Enter")
    assert page.get_by_text("learning_rate: 0.01").first.is_visible()


def test_the_workspace_keeps_a_run_and_its_stages(workspace: Workspace, first: Version) -> None:
    (facts,) = [each for each in kept_facts(workspace.home) if each.run == first.tags["rnnpipe.pipeline_run"]]
    assert facts.tracked and facts.model_uri == "models:/digits-rows/1" and facts.verdict is not None
    names = {stage.name for stage in facts.stages}
    assert names >= {"dataset digits", "sequences rows", *TINY_LABELS, *(f"test {label}" for label in TINY_LABELS)}
    assert all(stage.sentence.startswith("runs: ") for stage in facts.stages if stage.name in TINY_LABELS)
    assert set(facts.environment) == {
        "python", "platform", "torch", "numpy", "cpu capability", "cores", "revision",
    }  # fmt: skip
