"""The report's pages as HTML, each complete in itself: style and script stand in the page, and nothing is asked for."""

import base64
import hashlib
from importlib import resources

import jinja2
from markupsafe import Markup

from .. import __version__, claims, comparisons, explain, results
from ..bench import summary
from ..gate import decide
from ..history import steps
from . import raw
from .page import Page

VERDICTS = {
    *explain.VERDICTS,
    *claims.VERDICTS,
    *comparisons.VERDICTS,
    *summary.VERDICTS,
    *decide.VERDICTS,
    *steps.VERDICTS,
}
"""Cells that are coloured by what they say."""


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _generator() -> str:
    """What decides about every byte of a page, beside the records."""
    libraries = ", ".join(f"{name} {results.version(name)}" for name in ("matplotlib", "numpy", "jinja2"))
    return f"normsuite {__version__}, {libraries}"


def _listed(command: str) -> str:
    return f"{raw.KEY}.html#{raw.section(command)}"


def render(pages: list[Page], recorded: list[str]) -> dict[str, str]:
    """Each page's file name and text. All text is escaped; only the charts' own SVG goes in as it is.

    Args:
        pages: in the order of the navigation.
        recorded: the commands whose records the page of them lists.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _template("tables.js")
    # The policy lets nothing in but this very script: what is not escaped by mistake still does not run.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    titles = {(page.key, section.key): f"{page.name}: {section.title}" for page in pages for section in page.sections}
    template = environment.get_template("page.html.jinja")
    return {
        f"{page.key}.html": template.render(
            page=page,
            pages=pages,
            titles=titles,
            verdicts=VERDICTS,
            version=__version__,
            generator=_generator(),
            records=lambda command: next((_listed(c) for c in recorded if command.startswith(c)), None),
            style=Markup(_template("style.css")),
            script=Markup(script),
            script_digest=digest,
        )
        for page in pages
    }
