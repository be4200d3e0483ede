"""Tables in the terminal."""

from rich import table as drawing
from rich.markup import escape

from .table import BAD, GOOD, WARNING, Table

STYLES = {GOOD: "green", BAD: "red", WARNING: "yellow"}


def drawn(table: Table) -> drawing.Table:
    """Return a table for rich's console: a row has the colour of its verdict; columns for pages alone are left out."""
    places = [place for place, column in enumerate(table.columns) if not column.only_pages]
    found = drawing.Table(title=escape(table.title) or None)
    for column in (table.columns[place] for place in places):
        # Names of cells and hashes have no spaces to break at, and mean nothing without their ends.
        found.add_column(escape(column.name), justify="right" if column.is_number else "left", overflow="fold")
    for row in table.rows:
        found.add_row(*(escape(row[place]) for place in places), style=STYLES.get(table.tone(row), ""))
    return found
