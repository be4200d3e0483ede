"""The report in a real browser: quiet, alone, usable by everyone, in light and dark, wide and narrow."""

import base64
import csv
import functools
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from report_records import HOSTILE, PAGES, write_whole

from normsuite import report
from tools import browser as browser_at_hand

pytestmark = pytest.mark.skipif(bool(reason := browser_at_hand.missing()), reason=reason or "")

WIDTHS = {"phone": (390, 844), "desk": (1440, 900)}
AXE = "axe-core@4.10"
REFERENCE = Path(__file__).parent.parent / "reports" / "reference" / "html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A report of everything, hostile names among it."""
    folder = write_whole(tmp_path_factory.mktemp("site") / "reports")
    page, _ = report.write(folder, folder / "html")
    return page.parent


@pytest.fixture(scope="module")
def browser():
    with browser_at_hand.opened(logs={"browser": "ALL", "performance": "ALL"}) as driver:
        yield driver


def show(browser, page, *, size="desk", scheme="light", part=""):
    """Return that page, as if just opened."""
    width, height = WIDTHS[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # what was before is read and gone
    browser.get(page.as_uri() + part)


def requested(browser):
    """Every address that was asked for since the page was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_nothing_to_the_console_and_asks_for_nothing(browser, site, name):
    page = site / f"{name}.html"
    show(browser, page)
    assert browser.get_log("browser") == []
    asked = requested(browser)
    assert page.as_uri() in asked, "requests are seen"
    assert [url for url in asked if url != page.as_uri() and not url.startswith("data:")] == []


def test_the_policy_refuses_what_slips_through(browser, site, tmp_path):
    """What the other tests rely on: requests and scripts that should not be there are refused, and noticed."""
    page = tmp_path / "index.html"
    slipped = "<img src='http://127.0.0.1:9/x.png'><script>document.title = 'taken'</script></main>"
    page.write_text((site / "index.html").read_text().replace("</main>", slipped))
    show(browser, page)
    assert browser.title != "taken"
    said = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert "x.png" in said and "script" in said and "Content Security Policy" in said


def test_hostile_names_are_words(browser, site):
    for name in PAGES:
        show(browser, site / f"{name}.html")
        assert browser.execute_script("return document.scripts.length") == 1
    show(browser, site / "gate.html")
    assert HOSTILE in browser.find_element("tag name", "main").text


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways(browser, site, name, size):
    show(browser, site / f"{name}.html", size=size)
    browser.execute_script("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    wide, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert 0 < wide <= seen <= WIDTHS[size][0]


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("whose", ["all kinds", "reference"])
def test_no_cell_runs_into_the_next_one(browser, site, whose, name, size):
    show(browser, (site if whose == "all kinds" else REFERENCE) / f"{name}.html", size=size)
    wider = browser.execute_script(
        "return [...document.querySelectorAll('tbody th, td')]"
        ".filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.innerText)"
    )
    assert not wider


LUMINANCE = """
const parts = getComputedStyle(arguments[0])[arguments[1]].match(/[\\d.]+/g).map(Number);
const linear = parts.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser, site, scheme):
    """Text and the charts' words stand out from what is behind them (WCAG's 4.5)."""
    show(browser, site / "learning.html", scheme=scheme)
    body = browser.find_element("tag name", "body")
    axis = browser.find_element("css selector", "figure svg text")
    panel = browser.find_element("css selector", "figure")
    paper, behind = (browser.execute_script(LUMINANCE, e, "backgroundColor") for e in (body, panel))
    assert (paper > 0.5) == (scheme == "light") == (behind > 0.5)
    for over, under in (
        (browser.execute_script(LUMINANCE, body, "color"), paper),
        (browser.execute_script(LUMINANCE, axis, "fill"), behind),
    ):
        assert (max(over, under) + 0.05) / (min(over, under) + 0.05) >= 4.5


def table(browser, caption):
    """The table of that caption, and the tools above it."""
    for box in browser.find_elements("css selector", ".scroll"):
        if box.get_attribute("aria-label").startswith(caption):
            return box.find_element("tag name", "table"), box.find_element("xpath", "preceding-sibling::*[1]")
    raise AssertionError(f"no table {caption!r}")


def first_cells(shown):
    return [
        head.text for head in shown.find_elements("css selector", "tbody tr:not([hidden]) th") if head.is_displayed()
    ]


def test_tables_sort(browser, site):
    show(browser, site / "learning.html")
    shown, _ = table(browser, "After 3 epochs")
    before = first_cells(shown)
    head = shown.find_elements("css selector", "thead th")[1]
    button = head.find_element("tag name", "button")
    for order, expected in (("ascending", before), ("descending", before[::-1])):
        button.click()
        assert head.get_attribute("aria-sort") == order and first_cells(shown) == expected
    shown.find_element("css selector", "thead th button").click()
    assert first_cells(shown) == sorted(before, key=str.lower) and head.get_attribute("aria-sort") is None


def test_cells_sort_by_what_they_mean(browser, site):
    cells = [
        "1.53 ms",
        "2 s [1 s, 3 s]",
        "n/a",
        "25 µs",
        "word",
        "−1 s",
        "-3 s",
        "1,024 B",
        "1 KiB",
        "3.1e-07",
        "infinite",
    ]
    show(browser, site / "index.html")
    order = browser.execute_script("return arguments[0].toSorted((a, b) => compare(a, b, 1))", cells)
    assert order == [
        "-3 s",
        "−1 s",
        "3.1e-07",
        "25 µs",
        "1.53 ms",
        "2 s [1 s, 3 s]",
        "1,024 B",
        "1 KiB",
        "infinite",
        "word",
        "n/a",
    ]
    back = browser.execute_script("return arguments[0].toSorted((a, b) => compare(a, b, -1))", cells)
    assert back[0] == "infinite" and back[1] in ("1,024 B", "1 KiB") and back[-2:] == ["word", "n/a"], (
        "what is missing stays last"
    )


def test_tables_filter(browser, site):
    show(browser, site / "gate.html")
    shown, tools = table(browser, HOSTILE)
    every = first_cells(shown)
    tools.find_element("tag name", "input").send_keys("PEAK worse")
    assert first_cells(shown) == ["cell 0"]
    assert tools.find_element("tag name", "output").text == f"1 of {len(every)} rows"
    tools.find_element("tag name", "input").send_keys(" nowhere")
    assert first_cells(shown) == []


def test_tables_copy_as_csv(browser, site):
    show(browser, site / "gate.html")
    shown, tools = table(browser, HOSTILE)
    browser.execute_script("arguments[0].tBodies[0].rows[1].cells[6].textContent = '=1+1, \"two\"'", shown)
    tools.find_element("tag name", "button").click()
    assert browser.execute_async_script(
        "const [output, done] = arguments;"
        "const wait = () => (output.textContent ? done(output.textContent) : setTimeout(wait, 10)); wait();",
        tools.find_element("tag name", "output"),
    ) == "copied"  # fmt: skip
    rows = list(csv.reader(io.StringIO(browser.execute_script("return csv(arguments[0])", shown))))
    assert rows[0] == ["cell", "metric", "base", "head", "head against base", "verdict", "note", "values"]
    assert rows[1][:3] == ["cell 0", "peak bytes", "1000 B"]
    assert rows[2][6] == '\'=1+1, "two"', "what a spreadsheet would compute stays text"


def test_pages_lead_to_each_other_and_open_what_is_folded(browser, site):
    show(browser, site / "index.html")
    browser.find_element("partial link text", "Every pair of norms").click()
    assert browser.current_url == (site / "learning.html").as_uri() + "#pairs"
    assert browser.find_element("css selector", "#pairs table").is_displayed()
    assert not browser.find_element("css selector", "#confusion figure").is_displayed()
    browser.find_element("link text", "Overview").click()
    assert browser.current_url == (site / "index.html").as_uri()


def test_without_scripts_nothing_is_missing(browser, site, tmp_path):
    """The page's policy forbids them: scripts that the driver switches off may run where it switches them on again."""
    page = tmp_path / "learning.html"
    text, replaced = re.subn(r"script-src 'sha256-[^']+'", "script-src 'none'", (site / page.name).read_text())
    assert replaced == 1
    page.write_text(text)
    show(browser, page)
    assert any("script" in entry["message"] for entry in browser.get_log("browser")), "it was refused"
    assert browser.find_elements("css selector", ".tools, thead button") == []
    assert browser.find_element("css selector", "#results table").is_displayed()


def printed(browser, tries=5):
    """The page as PDF; Chromium now and then says no more than that printing failed, and prints when asked again."""
    from selenium.common.exceptions import WebDriverException  # it may not be installed

    for left in reversed(range(tries)):
        try:
            return base64.b64decode(browser.print_page())
        except WebDriverException as error:
            if "Printing failed" not in str(error) or not left:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize("name", PAGES)
def test_paper_has_no_folds_no_tools_and_no_night(browser, site, name):
    """Printed from a dark screen, on A4 upright with margins of 1 cm."""
    show(browser, site / f"{name}.html", scheme="dark")
    try:
        document = printed(browser)
        assert document.startswith(b"%PDF") and len(document) > 10_000
        folded = browser.execute_script("return [...document.querySelectorAll('details')].map((each) => each.open)")
        assert all(folded)
        metrics = {"width": 718, "height": 1047, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
        assert not any(e.is_displayed() for e in browser.find_elements("css selector", "nav, .tools"))
        assert browser.execute_script(LUMINANCE, browser.find_element("tag name", "body"), "color") < 0.05
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= 718
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@functools.cache
def axe() -> str:
    """axe-core's source, from npm, kept in a cache of the user's; skips with the reason where there is none."""
    from platformdirs import user_cache_path

    folder = user_cache_path("normsuite") / "tests"
    kept = folder / f"{AXE}.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is not here, and npm, which would fetch it, is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                [npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, timeout=60, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"npm could not fetch {AXE} ({type(error).__name__})")
        packed = folder / done.stdout.split()[-1]
        with tarfile.open(packed) as archive:
            source = archive.extractfile("package/axe.min.js").read()
        packed.unlink()
        part = kept.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(source)
        part.replace(kept)
    return Path(kept).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(browser, site, name, scheme):
    source = axe()
    show(browser, site / f"{name}.html", size="phone", scheme=scheme)
    browser.execute_script("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")
    browser.execute_script(source)
    found = browser.execute_async_script("const done = arguments[0]; axe.run(document).then(done)")
    assert found["passes"], "axe looked at something"
    serious = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
