"""Tables as data. Cells are text: numbers and intervals are written by `presentation.text`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

GOOD, BAD, WARNING = TONES = ("good", "bad", "warning")
"""Colours of cells; a cell says the same by its word."""


@dataclass(frozen=True)
class Column:
    """A column's heading and how its cells are shown.

    Attributes:
        name: its heading.
        is_number: cells are numbers, which a terminal and Markdown align to the right.
        tones: a tone of `TONES` for each word that a cell may be, or begin with before a colon; others have none.
        only_pages: left out of terminals, which have less room.
    """

    name: str
    is_number: bool = False
    tones: Mapping[str, str] | None = None
    only_pages: bool = False

    def tone(self, cell: str) -> str:
        """Return the tone of a cell, "" for none."""
        return self.tones.get(cell.partition(":")[0], "") if self.tones else ""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what it shows, in one phrase or sentence.
        columns: headings; a text is a column of that name.
        rows: a cell for each column; `Link` and `Picture` are cells that are more than text.
        command: what made its numbers; "" for none.
        note: how to read it, for pages; "" for nothing.
    """

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]
    command: str = ""
    note: str = ""

    def __init__(
        self, title: str, columns: Sequence[str | Column], rows: Sequence[Sequence[str]], command: str = "", note=""
    ):
        made = tuple(column if isinstance(column, Column) else Column(column) for column in columns)
        for name, value in (("title", title), ("columns", made), ("rows", [tuple(row) for row in rows])):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "command", command)
        object.__setattr__(self, "note", note)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns' headings."""
        return tuple(column.name for column in self.columns)

    @property
    def caption(self) -> str:
        """Return the title and the note behind it."""
        return f"{self.title.rstrip('.')}. {self.note}" if self.note else self.title

    def tone(self, row: Sequence[str]) -> str:
        """Return the tone of the first cell of a row that has one, "" for none."""
        tones = (column.tone(cell) for column, cell in zip(self.columns, row, strict=True))
        return next(filter(None, tones), "")

    def without(self, *names: str) -> "Table":
        """Return the table less the columns of those names."""
        kept = [place for place, column in enumerate(self.columns) if column.name not in names]
        rows = [tuple(row[place] for place in kept) for row in self.rows]
        return replace(self, columns=tuple(self.columns[place] for place in kept), rows=rows)


class Link(str):
    """A cell that leads somewhere."""

    href: str

    def __new__(cls, text: str, href: str):
        """Return the text as a cell that leads to `href`."""
        found = super().__new__(cls, text)
        found.href = href
        return found


class Picture(str):
    """A cell with a picture: its text says what the picture shows, and sorts, filters and copies like any other."""

    svg: str

    def __new__(cls, text: str, svg: str):
        """Return the text as a cell that shows `svg`, a drawing as SVG."""
        found = super().__new__(cls, text)
        found.svg = svg
        return found
