"""The report's pages as HTML, each complete in itself: style and script stand in the page, and nothing is asked for."""

import base64
import hashlib
from importlib import resources

import jinja2
from markupsafe import Markup

from .. import presentation
from .._version import __version__
from ..records import provenance
from . import raw
from .page import Page


def _template(name: str) -> str:
    """Return a template of a page, or of the parts that presentation has."""
    places = (resources.files(package) / "templates" / name for package in (__package__, presentation.__name__))
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")


def _generator() -> str:
    """Return the versions that decide about every byte of a page, beside the records."""
    libraries = ", ".join(f"{name} {provenance.version(name)}" for name in ("matplotlib", "numpy", "jinja2"))
    return f"normsuite {__version__}, {libraries}"


def _listed(command: str) -> str:
    return f"{raw.KEY}.html#{raw.section(command)}"


def render(pages: list[Page], recorded: list[str]) -> dict[str, str]:
    """Return each page's file name and text. All text is escaped; only the charts' own SVG goes in as it is.

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
            version=__version__,
            generator=_generator(),
            records=lambda command: next((_listed(c) for c in recorded if command.startswith(c)), None),
            style=Markup(_template("style.css")),
            script=Markup(script),
            script_digest=digest,
        )
        for page in pages
    }
