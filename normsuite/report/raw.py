"""The raw records that everything was made from, as a page of links, since web hosts list no folders."""

import os
from pathlib import Path
from urllib.parse import quote

from ..files import reading
from ..presentation.table import Link, Table
from ..records import kinds, results
from .page import Page, Section

KEY = "records"
_FOLDERS = {kind.command: kind.folder for kind in kinds.REPORTED}


def files(source: Path, out: Path) -> dict[str, list[Link]]:
    """Return links to each command's records.

    There are none where the report lies elsewhere: links would show local paths.
    """
    if not out.resolve().is_relative_to(source.resolve()):
        return {}
    found = {}
    for kind in kinds.REPORTED:
        folder = source / kind.folder
        links = [_link(path, out) for path in sorted(reading.files(folder, results.SUFFIXES)[0])]
        if kind is kinds.ASV and folder.is_dir():
            links = [Link(f"{kind.folder}/", _link(folder, out).href + "/")]  # asv names the files in it after machines
        if links:
            found[kind.command] = links
    return found


def _link(path: Path, out: Path) -> Link:
    relative = Path(os.path.relpath(path.parent.resolve() / path.name, out.resolve())).as_posix()
    return Link(reading.printable(path.name), quote(os.fsencode(relative)))


def section(command: str) -> str:
    """Return the key of that command's section of the page."""
    return _FOLDERS[command].partition("/")[0]


def page(found: dict[str, list[Link]]) -> Page:
    """Return a page with a table for each command that left records."""
    lead = (
        "Every figure and table was made from files of these, recorded by the command that stands beside it. What was "
        "damaged or is left out, and why, stands on the page of the method."
    )
    sections = tuple(
        Section(
            section(command),
            _FOLDERS[command],
            tables=(Table(f"Records in {_FOLDERS[command]}", ("record",), [(link,) for link in links], command),),
            folded=True,
        )
        for command, links in found.items()
    )
    return Page(KEY, "Records", "The raw records", lead, sections)
