"""Pages in a real browser: from asking for an address until what it is asked for is seen."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

CHROMIUM = "chromium"
CALM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
TIMEOUT_MS = 180_000
SIZE: Any = {"width": 1600, "height": 1000}
MLFLOW_ROW = "a[href*='/runs/']"
PREFECT_ROW = "a[href*='/runs/flow-run/']"


class Browser:
    """A browser whose cache has what doesn't change, as a person's has; each look is a new tab."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def see(self, address: str, selector: str) -> None:
        """Open an address in a new tab and wait until something is seen there."""
        page = self._context.new_page()
        try:
            page.set_default_timeout(TIMEOUT_MS)
            page.goto(address)
            page.locator(selector).first.wait_for()
        finally:
            page.close()


@contextlib.contextmanager
def browser() -> Iterator[Browser | None]:
    """Yield Chromium, driven by Playwright; None where one of them is missing."""
    program = shutil.which(CHROMIUM)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        yield None
        return
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=list(CALM))
        yield Browser(chromium.new_context(viewport=SIZE))
        chromium.close()
