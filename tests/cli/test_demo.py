"""The page to draw on: what it answers, what it refuses, and what is seen in a browser."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from test_ui import PAGE_TIMEOUT_MS
from workspaces import TINY_LABELS, Done, Workspace, done, free_port

from rnnpipe.evaluation.deploy import Deploy, load_model
from rnnpipe.serving.drawing import DRAWING_SIDE
from rnnpipe.tracking.addresses import sqlite_uri
from rnnpipe.tracking.client import open_tracking
from rnnpipe.tracking.promotion import fetch_model
from rnnpipe.tracking.registry import resolve_model_uri

JSON = {"Content-Type": "application/json"}
NAME = "digits-rows"
PIXELS = 64
BLANK = [0] * DRAWING_SIDE**2
LABELS = {label.removesuffix(" s0") for label in TINY_LABELS}

# Text and what lies behind it, as colours; canvases and what isn't shown are left out.
CONTRASTS = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * x + .7152 * y + .0722 * z; };
  const behind = node => { for (; node; node = node.parentElement) {
    const found = parse(getComputedStyle(node).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found; } return [255, 255, 255]; };
  const found = [];
  for (const node of document.querySelectorAll('body *')) {
    const text = [...node.childNodes].filter(each => each.nodeType === 3)
      .map(each => each.textContent.trim()).join('');
    if (!text || !node.checkVisibility() || ['SCRIPT', 'STYLE'].includes(node.tagName)) continue;
    const [one, two] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    found.push([text.slice(0, 30), (one + .05) / (two + .05)]);
  }
  return found; }"""


def start_demo(workspace: Workspace, *arguments: object) -> tuple["subprocess.Popen[str]", str, str]:
    """Return the command, the page's address, and what was told before it."""
    port = free_port()
    process = workspace.start("demo", *arguments, "--port", port, "--no-open")
    assert process.stdout is not None
    told = []
    while not (line := process.stdout.readline()).startswith("Draw at"):
        assert line, process.stderr and process.stderr.read()
        told.append(line)
    return process, line.split()[-1], "".join(told)


@pytest.fixture(scope="module")
def demo(workspace: Workspace, first_run: Done) -> Iterator[str]:
    """The page's address; Ctrl-C closes it."""
    assert first_run.code == 0
    process, address, told = start_demo(workspace, NAME)
    assert f"registered as models:/{NAME}/" in told and "stored training: seed 0" in told
    with process:
        yield address
        process.send_signal(signal.SIGINT)
        ended = done(process)
    assert ended.code == 0 and "the page is closed" in ended.out and not ended.err


def read(address: str, content: Any) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.post(f"{address}api/read", content=body, headers=JSON, timeout=60)


def test_the_facts_say_who_reads_what(demo: str) -> None:
    facts = httpx.get(f"{demo}api/facts").json()
    titles = [each["title"] for each in facts["readers"]]
    assert len(titles) == len(set(titles)) and set(titles) >= LABELS
    assert re.fullmatch(rf"registered as models:/{NAME}/\d+", facts["readers"][0]["what"])
    assert all(each["what"].startswith("stored training: seed ") for each in facts["readers"][1:])
    assert facts["image_size"] == [8, 8] and facts["steps"] == 8 and facts["sequence"] == "rows"
    assert facts["step_of_pixel"] == [step for step in range(1, 9) for _ in range(8)]
    assert [each["label"] for each in facts["samples"]] == list(map(str, range(10)))
    assert all(len(each["image"]) == PIXELS and max(each["image"]) == 255 for each in facts["samples"])


def test_the_answers_are_the_nets_own(workspace: Workspace, demo: str) -> None:
    image = httpx.get(f"{demo}api/facts").json()["samples"][3]["image"]
    answer = read(demo, {"image": image}).raise_for_status().json()
    assert answer["image"] == image
    first, second, *_ = answer["readers"]
    tracking = open_tracking(sqlite_uri(workspace.home / "mlflow.db"), None, workspace.home)
    folder = fetch_model(tracking, resolve_model_uri(tracking, NAME), workspace.home)
    asked = torch.tensor(image, dtype=torch.float32).view(1, 8, 8)
    with torch.inference_mode():
        expected = Deploy(*load_model(folder))(asked)[0].numpy()
    assert np.abs(np.array(first["probabilities"][-1]) - expected).max() < 1e-4
    for each in (first, second):
        beliefs = np.array(each["probabilities"])
        assert beliefs.shape == (8, 10) and each["steps"] == list(range(1, 9)) and 1 <= each["decided_at"] <= 8
        assert np.abs(beliefs.sum(axis=1) - 1).max() < 1e-3
    assert first["probabilities"] != second["probabilities"]


def test_a_drawing_is_framed(demo: str) -> None:
    drawing = np.zeros((DRAWING_SIDE, DRAWING_SIDE), int)
    drawing[20:60, 70:80] = 255
    image = np.array(read(demo, {"drawing": drawing.ravel().tolist()}).json()["image"]).reshape(8, 8)
    assert (image.max(axis=1) > 0).all() and not image[:, [0, 1, 6, 7]].any()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Invalid JSON"),
        (b"\xff\x00{", "Invalid JSON"),
        (b"[" * 1000, "Invalid JSON"),
        ([], "object"),
        ({}, "either drawing or image"),
        ({"image": [0] * PIXELS, "drawing": BLANK}, "either drawing or image"),
        ({"image": [0] * PIXELS, "more": 1}, "more"),
        ({"image": [0] * 63}, "63 pixels, not 8 x 8 = 64"),
        ({"image": []}, "0 pixels"),
        ({"image": [[0] * 8] * 8}, "valid integer"),
        ({"image": "0" * PIXELS}, "valid array"),
        ({"image": [0.5] * PIXELS}, "valid integer"),
        ({"image": [True] * PIXELS}, "valid integer"),
        ({"image": ["0"] * PIXELS}, "valid integer"),
        ({"image": [None] * PIXELS}, "valid integer"),
        ({"image": [256] * PIXELS}, "255"),
        ({"image": [-1] * PIXELS}, "greater than or equal to 0"),
        ({"image": [10**40] * PIXELS}, "255"),
        ({"image": [float("nan")] * PIXELS}, "integer"),
        ({"drawing": BLANK}, "nothing is drawn"),
        ({"drawing": BLANK[1:]}, "12543 pixels"),
    ],
)
def test_junk_gets_a_short_400(demo: str, content: Any, reason: str) -> None:
    answer = read(demo, content)
    assert answer.status_code == 400 and reason in answer.json()["error"] and len(answer.content) < 400, (
        answer.text
    )
    assert read(demo, {"image": [0] * PIXELS}).status_code == 200


def test_what_is_too_much_or_from_elsewhere_is_refused(demo: str) -> None:
    assert read(demo, b" " * 200_000).status_code == 413
    plain = httpx.post(f"{demo}api/read", content=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 400 and "Content-Type" in plain.json()["error"]
    assert httpx.get(demo, headers={"Host": "elsewhere.example"}).status_code == 400
    assert httpx.get(f"{demo}../../etc/passwd").status_code == httpx.get(f"{demo}docs").status_code == 404
    assert httpx.get(f"{demo}api/read").status_code == 405
    page = httpx.get(demo)
    assert (
        "default-src 'none'" in page.headers["content-security-policy"]
        and "http" not in page.text.split("<script>")[1]
    )


def test_wrong_names_and_ports_are_told(demo: str, call: Any) -> None:
    taken = call("demo", NAME, "--port", httpx.URL(demo).port, "--no-open")
    assert taken.code == 6 and "can't be had" in taken.err and "fix: rnnpipe demo --port" in taken.err
    unknown = call("demo", "digits-columns", "--no-open")
    assert unknown.code == 5 and "there is no digits-columns" in unknown.err


@pytest.fixture
def page(browser: Any, demo: str) -> Iterator[Any]:
    """The page, loaded; nothing may be asked of another server, and no script may fail."""
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    asked, failed = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda told: failed.append(told.text) if told.type == "error" else None)
    page.goto(demo)
    page.locator("article").nth(1).wait_for()
    yield page
    assert not failed and all(url.startswith((demo, "data:")) for url in asked)
    page.close()


def bars(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".bar", "bars => bars.map(bar => bar.style.transform)")
    return found


def ended(page: Any) -> None:
    page.locator("#told:not(:empty)").wait_for()


@pytest.mark.browser
def test_a_stroke_is_drawn_and_the_bars_move_row_by_row(page: Any) -> None:
    assert set(bars(page)) == {"scaleX(0)"}
    box = page.locator("#pad").bounding_box()
    page.evaluate("""() => { window.seen = new Set();
      new MutationObserver(() => seen.add(document.querySelector('.bar').style.transform + step.textContent))
        .observe(document.getElementById('step'), { childList: true }); }""")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 40, steps=8)
    page.mouse.up()
    ended(page)
    assert page.evaluate("seen.size") >= 7
    assert page.locator("#step").inner_text() == "8 of 8 steps read"
    assert set(bars(page)) != {"scaleX(0)"}
    told = page.locator("#told").inner_text()
    assert all(f"{label}: " in told for label in LABELS)
    verdicts = page.locator(".verdict").all_inner_texts()
    assert len(verdicts) >= 2 and all("decided after step" in verdict for verdict in verdicts)
    after = bars(page)
    page.locator("#when").fill("1")
    assert bars(page) != after and page.locator("#step").inner_text() == "1 of 8 steps read"
    page.get_by_role("button", name="Clear").click()
    assert set(bars(page)) == {"scaleX(0)"}


@pytest.mark.browser
def test_one_finger_draws_and_a_second_one_leaves_no_trace(page: Any) -> None:
    box = page.locator("#pad").bounding_box()
    touch = page.context.new_cdp_session(page)

    def point(right: float, down: float, number: int) -> dict[str, float]:
        return {"x": box["x"] + right * box["width"], "y": box["y"] + down * box["height"], "id": number}

    def send(kind: str, *points: dict[str, float]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    send("touchStart", point(0.3, 0.2, 0))
    send("touchMove", point(0.3, 0.5, 0))
    send("touchStart", point(0.3, 0.5, 0), point(0.9, 0.9, 1))
    send("touchMove", point(0.3, 0.8, 0), point(0.9, 0.3, 1))
    send("touchEnd")
    ended(page)
    drawn = page.evaluate("""() => [.3, .9].map(share => Math.max(...pad.getContext('2d')
      .getImageData(share * pad.width, 0, 1, pad.width).data.filter((value, at) => at % 4 < 3)))""")
    assert drawn == [255, 0]
    assert set(bars(page)) != {"scaleX(0)"}


@pytest.mark.browser
def test_nothing_breaks_before_the_nets_are_known(page: Any) -> None:
    held = []

    def hold(route: Any) -> None:  # not held.append: Playwright notes something on what it is given
        held.append(route)

    page.route("**/api/facts", hold)
    page.reload()
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 90)
    page.mouse.up()
    for key in ("Space", "ArrowDown", "Space", "Delete"):
        page.locator("#pad").press(key)
    page.get_by_role("button", name="Clear").click()
    held[0].continue_()
    page.locator("article").nth(1).wait_for()
    page.get_by_role("button", name="class 5").click()
    ended(page)


@pytest.mark.browser
def test_all_can_be_done_with_keys(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pad"
    page.keyboard.press("Space")
    for _ in range(10):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    ended(page)
    assert set(bars(page)) != {"scaleX(0)"}
    page.keyboard.press("Delete")
    assert set(bars(page)) == {"scaleX(0)"}
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.id")
        )
    assert names[0] == "clear" and [name.rpartition(" ")[2] for name in names[1:11]] == list(map(str, range(10)))
    for _ in range(5):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    ended(page)
    assert "decided after step" in page.locator(".verdict").first.inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_can_be_read_in_light_and_dark(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="class 5").click()
    ended(page)
    assert page.locator("#step").inner_text() == "8 of 8 steps read"
    page.evaluate("document.getElementById('problem').textContent = 'something is wrong'")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [each for each in found if each[1] < 4.5] == []


@pytest.mark.browser
def test_a_narrow_screen_needs_no_scrolling_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
