"""A page in a real browser: how long it takes until a reader can use it. Where there is no browser, why not."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOADS = 5


def missing() -> str | None:
    """Return what is missing of what the browser takes, and how to get it; None where nothing is."""
    if find_spec("selenium") is None:
        return "selenium is not installed (pip install selenium)"
    if not (_chromium() and shutil.which("chromedriver")):
        return "no Chromium with its driver here (Debian: apt-get install chromium-driver)"
    return None


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def opened(logs: Mapping[str, str] = MappingProxyType({})) -> Iterator:
    """Return selenium's driver of a headless Chromium with a profile of its own; only where nothing is `missing`.

    Args:
        logs: which are kept, and from which level on.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        browser = _chromium()
        assert browser is not None  # or it would be `missing`
        options.binary_location = browser
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        if logs:
            options.set_capability("goog:loggingPrefs", dict(logs))
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def interactive_s(pages: list[Path]) -> dict[str, list[float]]:
    """Return the seconds from the start of a navigation until the page's script has run, by page, `LOADS` times each.

    That is the end of DOMContentLoaded in Navigation Timing (W3C, Level 2): the page is read, tables sort and filter.
    """
    with opened() as driver:
        return {page.name: [_loaded_s(driver, page) for _ in range(LOADS)] for page in pages}


def _loaded_s(driver, page: Path) -> float:
    driver.get("about:blank")
    driver.get(page.resolve().as_uri())
    asked = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
    return driver.execute_script(asked) / 1000
