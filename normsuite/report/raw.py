"""The raw records that everything was made from, as a page of links, since web hosts list no folders."""

import os
from pathlib import Path
from urllib.parse import quote

from .. import reading, results
from ..presentation.table import Link, Table
from .collect import ASV_COMMAND, FOLDERS
from .page import Page, Section

KEY = "records"


def files(source: Path, out: Path) -> dict[str, list[Link]]:
    """Return the records of each command if the report lies beside them; otherwise links would show local paths."""
    if not out.resolve().is_relative_to(source.resolve()):
        return {}
    found = {}
    for command, name in FOLDERS.items():
        folder = source / name
        links = [_link(path, out) for path in sorted(reading.files(folder, results.SUFFIXES)[0])]
        if command == ASV_COMMAND and folder.is_dir():
            links = [Link(f"{name}/", _link(folder, out).href + "/")]  # asv names the files in it after machines
        if links:
            found[command] = links
    return found


def _link(path: Path, out: Path) -> Link:
    relative = Path(os.path.relpath(path.parent.resolve() / path.name, out.resolve())).as_posix()
    return Link(path.name, quote(relative))


def section(command: str) -> str:
    """Return the key of that command's section of the page."""
    return FOLDERS[command].partition("/")[0]


def page(found: dict[str, list[Link]]) -> Page:
    """Return a page with a table for each command that left records."""
    lead = (
        "Every figure and table was made from files of these, recorded by the command that stands beside it. What was "
        "damaged or is left out, and why, stands on the page of the method."
    )
    sections = tuple(
        Section(
            section(command),
            FOLDERS[command],
            tables=(Table(f"Records in {FOLDERS[command]}", ("record",), [(link,) for link in links], command),),
            folded=True,
        )
        for command, links in found.items()
    )
    return Page(KEY, "Records", "The raw records", lead, sections)
