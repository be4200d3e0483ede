"""Every page of the reference report as people see it: nothing is raw markup, overlaps, is cut off, or is empty."""

from pathlib import Path

import pytest

from normsuite import report
from tools import browser as browser_at_hand

pytestmark = pytest.mark.skipif(bool(reason := browser_at_hand.missing()), reason=reason or "")

REFERENCE = Path(__file__).parent.parent / "reports" / "reference"
PAGES = (
    "index", "norms", "learning", "cost", "numerics", "conformance", "ahead", "history", "gate", "method",
)  # fmt: skip
WIDTHS = {"phone": (390, 844), "desk": (1440, 900)}
LEAST_SHARE = 0.6

SEEN = r"""
const found = [];
const near = text => text.textContent.trim().slice(0, 40);
const RAW = /\\mathdefault|\$\\|\\(frac|text)|\{\{|\}\}|\{%|<\/?[a-z]+>|&(amp|lt|gt);|\bundefined\b/;
const NUMBER = /\bNaN\b(?=\s*($|[%\]×,]))/;  // words on NaN are none
for (const node of document.querySelectorAll("h1, h2, p, td, th, li, figcaption, svg text"))
  if (RAW.test(node.textContent) || NUMBER.test(node.textContent)) found.push(["raw markup", near(node)]);
for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector("svg");
  if (!svg) continue;
  const box = svg.getBoundingClientRect();
  const name = (figure.querySelector("figcaption") || figure).textContent.trim().slice(0, 50);
  if (box.width < SHARE * figure.getBoundingClientRect().width) found.push(["narrow", name]);
  const drawn = [...svg.querySelectorAll("path, line, polyline, rect, circle, use, image")]
    .map(part => part.getBoundingClientRect()).filter(part => part.width + part.height > 0);
  const right = Math.max(...drawn.map(part => part.right)), left = Math.min(...drawn.map(part => part.left));
  if (drawn.length < 5 && !svg.querySelector("image")) found.push(["empty", name]);
  else if (right - left < 0.4 * box.width) found.push(["squeezed", name]);
  const texts = [...svg.querySelectorAll("text")].filter(text => text.textContent.trim());
  if (!texts.length) found.push(["without words", name]);
  const boxes = texts.map(text => text.getBoundingClientRect());
  boxes.forEach((one, i) => {
    if (one.left < box.left - 2 || one.right > box.right + 2 || one.top < box.top - 2 || one.bottom > box.bottom + 2)
      found.push(["cut off", near(texts[i]) + " in " + name]);
    for (let j = 0; j < i; j++) {
      const other = boxes[j];
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const tall = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 2 && tall > 0.45 * Math.min(one.height, other.height))
        found.push(["overlap", near(texts[i]) + " and " + near(texts[j]) + " in " + name]);
    }
  });
}
for (const cell of document.querySelectorAll("th, .card p, figcaption"))
  if (cell.scrollWidth > cell.clientWidth + 2 && getComputedStyle(cell).overflowX === "hidden")
    found.push(["cut off", near(cell)]);
return found;
""".replace("SHARE", str(LEAST_SHARE))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    page, _ = report.write(REFERENCE, tmp_path_factory.mktemp("site"))
    return page.parent


@pytest.fixture(scope="module")
def browser():
    with browser_at_hand.opened() as driver:
        yield driver


def seen(browser, page, size):
    width, height = WIDTHS[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    return browser.execute_script(SEEN)


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_fit_to_be_seen(browser, site, name, size):
    assert seen(browser, site / f"{name}.html", size) == []


SPOILED = {
    "raw markup": '<figure><svg width="90%">{}<text y="20">$\\mathdefault{{10}}$</text></svg></figure>',
    "narrow": '<figure style="width: 900px"><svg style="width: 60px">{}<text y="20">x</text></svg></figure>',
    "empty": '<figure><svg width="90%"><text y="20">x</text></svg></figure>',
    "overlap": '<figure><svg width="90%">{}<text y="20">100000</text><text x="9" y="20">200000</text></svg></figure>',
    "cut off": '<figure><svg width="90%" style="overflow: hidden">{}<text x="-20" y="20">words</text></svg></figure>',
    "squeezed": '<figure><svg width="90%"><g transform="scale(.1)">{}</g><text y="20">x</text></svg></figure>',
}
LINES = "".join(f'<path d="M0 {30 + n}H600" stroke="black"/>' for n in range(9))


@pytest.mark.parametrize("fault", SPOILED)
def test_each_fault_is_seen(browser, tmp_path, fault):
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{SPOILED[fault].format(LINES)}")
    assert fault in {kind for kind, _ in seen(browser, page, "desk")}
