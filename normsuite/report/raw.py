"""The raw records that everything was made from, as a page of links: what hosts a report shows no folders."""

import os
from pathlib import Path
from urllib.parse import quote

from .collect import FOLDERS
from .page import Page, Section
from .tables import Table

KEY = "records"


class Link(str):
    """Text that leads somewhere."""

    href: str

    def __new__(cls, text: str, href: str):
        found = super().__new__(cls, text)
        found.href = href
        return found


def files(source: Path, out: Path) -> dict[str, list[Link]]:
    """The records of each command, where the report lies among them: else a link would say where that is."""
    if not out.resolve().is_relative_to(source.resolve()):
        return {}
    found = {}
    for command, folder in FOLDERS.items():
        paths = sorted(path for path in (source / folder).rglob("*.json") if path.is_file())
        if paths:
            found[command] = [_link(path, source / folder, out) for path in paths]
    return found


def _link(path: Path, folder: Path, out: Path) -> Link:
    relative = Path(os.path.relpath(path.parent.resolve() / path.name, out.resolve())).as_posix()
    return Link(path.relative_to(folder).as_posix(), quote(relative))


def section(command: str) -> str:
    """The key of that command's section of the page."""
    return FOLDERS[command].partition("/")[0]


def page(found: dict[str, list[Link]]) -> Page:
    """A table for each command that left records."""
    lead = "Every figure and table was made from these files alone, by the command that stands beside it."
    sections = tuple(
        Section(
            section(command),
            f"{FOLDERS[command]}: {len(links)} {'file' if len(links) == 1 else 'files'}",
            tables=(Table(f"Files in {FOLDERS[command]}", ("file",), [(link,) for link in links], command),),
            folded=True,
        )
        for command, links in found.items()
    )
    return Page(KEY, "Records", "The raw records", lead, sections)
