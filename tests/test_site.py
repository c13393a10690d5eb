"""The documents as pages: they are built without a complaint, and a browser fetches nothing from elsewhere."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="what `make docs` installs isn't there",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_and_package_has_a_page(site: Path) -> None:
    for name in ("index", "tour", "tutorials", "production", "schedule", "architecture", "PERFORMANCE"):
        assert (site / f"{name}.html").exists()
    manual = (site / "api" / "rnnpipe.models.html").read_text(encoding="utf-8")
    assert "One neuron: h_t = tanh(x_t · w_x + w_y h_{t-1} + b), with h_0 = 0." in manual
    assert 'id="rnnpipe.models.manual.SingleNeuron"' in manual
    text = (site / "tutorials.html").read_text(encoding="utf-8")
    assert 'href="api/rnnpipe.models.html#rnnpipe.models.manual"' in text


def test_nothing_on_a_page_comes_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    assert [(page.name, url) for page in pages for url in fetched.findall(page.read_text(encoding="utf-8"))] == []


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_without_a_network_shows_a_page(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 400, "height": 800})
        asked, wrong = list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((site / "tutorials.html").as_uri())
        assert page.get_by_role("heading", name="From a tutorial's line to a file").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 400  # a phone's width holds it
        page.locator("a[href*='rnnpipe.models.manual']").first.click()
        page.wait_for_url("**/api/rnnpipe.models.html#rnnpipe.models.manual")
        browser.close()
    assert asked and not [url for url in asked if not url.startswith(("file:", "data:"))] and not wrong
