"""The pages: up, seen in a browser, and gone when they are stopped."""

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from workspaces import TINY_LABELS, Done, Workspace, done, free_port

from rnnpipe.tracking import registry
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.views import comparison_url, model_version_url, run_url

PAGE_TIMEOUT_MS = 60_000
# What the pages of MLflow (who is logged in, where nobody has to) and Prefect ask their servers for in vain.
MISSING = ("/users/current", "/favicon", "/ico/undefined.svg")


@dataclass(frozen=True)
class Pages:
    """Where the pages are."""

    mlflow: str
    prefect: str
    port: int


def start_pages(workspace: Workspace) -> tuple["subprocess.Popen[str]", Pages]:
    port = free_port()
    process = workspace.start("ui", "--port", port)
    assert process.stdout is not None
    told = ""
    while "Ctrl-C" not in told and (line := process.stdout.readline()):
        told += line
    found = {name: re.search(rf"{name}\s+(http://127\.0\.0\.1:\d+)", told) for name in ("MLflow", "Prefect")}
    assert all(found.values()), told + str(process.stderr and process.stderr.read())
    return process, Pages(*(str(match and match[1]) for match in found.values()), port)


@pytest.fixture(scope="module")
def pages(workspace: Workspace, first_run: Done) -> Iterator[Pages]:
    """The pages of the workspace with its first run; SIGTERM ends them."""
    assert first_run.code == 0
    before = {process.pid for process in workspace.processes()}
    process, pages = start_pages(workspace)
    with process:
        yield pages
        process.send_signal(signal.SIGTERM)
        ended = done(process)
    assert ended.code == 143 and "Traceback" not in ended.err
    assert {process.pid for process in workspace.processes()} == before


def test_both_pages_are_there(pages: Pages) -> None:
    assert pages.mlflow.endswith(f":{pages.port}")
    for address in (f"{pages.mlflow}/health", pages.mlflow, f"{pages.prefect}/api/health", pages.prefect):
        assert httpx.get(address, follow_redirects=True, timeout=30).is_success, address


def test_a_port_in_use_is_told_with_the_way_out(pages: Pages, call: Any) -> None:
    ended = call("ui", "--port", pages.port)
    assert ended.code == 6
    assert f"port {pages.port} is in use" in ended.err
    assert f"fix: rnnpipe ui --port {pages.port + 1}" in ended.err


@pytest.mark.slow
def test_ctrl_c_stops_the_pages(workspace: Workspace) -> None:
    before = {process.pid for process in workspace.processes()}
    process, pages = start_pages(workspace)
    with process:
        process.send_signal(signal.SIGINT)
        ended = done(process)
    assert ended.code == 0 and "both pages are stopped" in ended.out and "Traceback" not in ended.err
    assert {process.pid for process in workspace.processes()} == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(pages.mlflow)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A browser's page; no script of it may fail, no server break, nothing be told as an error."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    failed = list[str]()
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 500 else None)
    page.on("pageerror", lambda error: failed.append(str(error)))

    def note(told: Any) -> None:
        if told.type == "error" and not any(path in told.location["url"] for path in MISSING):
            failed.append(f"{told.text} {told.location['url']}")

    page.on("console", note)
    yield page
    page.close()
    assert not failed


@pytest.mark.browser
def test_the_comparison_opens_ranked(workspace: Workspace, pages: Pages, page: Any) -> None:
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "digits-rows", workspace.home)
    runs = tracking.client.search_runs([tracking.experiment_id], order_by=["metrics.`test/accuracy` DESC"])
    page.goto(comparison_url(pages.mlflow, tracking.experiment_id))
    for label in TINY_LABELS:
        page.get_by_text(label, exact=True).first.wait_for()
    best = [run.info.run_name for run in runs if run.info.status == "FINISHED"]
    shown = page.locator("a[href*='/runs/']").all_inner_texts()
    assert [name for name in shown if name in best] == best
    page.locator("label:has(input[name='runs-view-mode'][value='CHART'])").click()
    for metric in ("accuracy_pct", "macro_f1"):
        page.get_by_placeholder("Search metric charts").fill(metric)
        page.wait_for_function(
            "count => [...document.querySelectorAll('.js-plotly-plot')].some(plot => [...plot.querySelectorAll("
            "'.bars .point path')].filter(bar => bar.getBBox().width > 5).length >= count)",
            arg=len(TINY_LABELS),
        )


@pytest.mark.browser
def test_a_champion_s_run_shows_how_belief_forms(workspace: Workspace, pages: Pages, page: Any) -> None:
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "digits-rows", workspace.home)
    (run, *_) = tracking.client.search_runs([tracking.experiment_id], "tags.`rnnpipe.overview` != ''")
    page.goto(run_url(pages.mlflow, tracking.experiment_id, run.info.run_id).replace("?", "/model-metrics?"))
    page.locator(".js-plotly-plot").first.wait_for()  # before, what is searched for is forgotten
    page.get_by_placeholder("Search metric charts").fill("belief")
    page.wait_for_function("[...document.images].some(each => /belief/.test(each.src) && each.naturalWidth > 200)")
    shown = {each.path for each in tracking.client.list_artifacts(run.info.run_id, "overview")}
    assert shown >= {"overview/belief.png", "overview/learning_curves.png"}


@pytest.mark.browser
def test_the_champion_shows_alias_verdict_and_card(workspace: Workspace, pages: Pages, page: Any) -> None:
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "digits-rows", workspace.home)
    champion = registry.champion(tracking, "digits-rows")
    assert champion is not None
    page.goto(model_version_url(pages.mlflow, "digits-rows", champion.number))
    for text in ("Verdict:", "Model card", "What it is:", "Trained on:", "95 % interval", "rnnpipe reproduce"):
        page.get_by_text(text).first.wait_for()
    page.get_by_text("champion").first.wait_for()


@pytest.mark.browser
def test_prefect_shows_the_flow_run(workspace: Workspace, pages: Pages, page: Any) -> None:
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), "digits-rows", workspace.home)
    run, *_ = tracking.client.search_runs([tracking.experiment_id], order_by=["attributes.start_time ASC"])
    page.goto(run.data.tags["prefect.flow_run_url"])
    page.get_by_text("tiny digits-rows").first.wait_for()
    page.get_by_text("Completed").first.wait_for()
