"""Text and tables in Markdown."""

from .table import Table

_MEANT = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"})


def escaped(words: str) -> str:
    """Return a text escaped for Markdown, on one line; names of commits, cases and norms may have any character."""
    return " ".join(words.translate(_MEANT).split())


def code(command: str) -> str:
    """Return a command of this program's own, which holds no backticks, as code."""
    return f"`{command}`"


def table(found: Table) -> list[str]:
    """Return the lines of a table, without its caption."""
    ruler = ["---:" if column.is_number else "---" for column in found.columns]
    rows = [map(escaped, found.names), ruler, *(map(escaped, row) for row in found.rows)]
    return [f"| {' | '.join(row)} |" for row in rows]


def captioned(found: Table) -> list[str]:
    """Return a table's caption and command, and its lines."""
    return [
        f"{escaped(found.caption.rstrip('.'))}.{f' {code(found.command)}' if found.command else ''}",
        "",
        *table(found),
        "",
    ]
