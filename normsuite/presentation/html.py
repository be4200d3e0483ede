"""Tables in HTML that stand alone, without a page's style; pages render theirs by `templates/parts.html.jinja`."""

from html import escape

from .table import Table


def plain(table: Table) -> str:
    """Return a table for a notebook: headings and cells, all text escaped."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.names)
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
