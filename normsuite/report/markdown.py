"""The report as one Markdown file: its sentences and its tables, without the charts."""

from .page import Page, Section, Sentence
from .tables import Table


def markdown(pages: list[Page]) -> str:
    """All pages, one below the other."""
    lines = []
    for page in pages:
        lines += [f"{'#' if page is pages[0] else '##'} {text(page.title)}", "", text(page.lead), ""]
        for section in page.sections:
            lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"### {text(section.title)}", ""]
    for paragraph in section.text:
        lines += [text(paragraph), ""]
    if section.sentences:
        lines += [*map(_sentence, section.sentences), ""]
    if section.missing:
        lines += [f"{text(section.missing)} Run {code(section.command)}, then `normsuite report`.", ""]
    for table in section.tables:
        lines += _table(table)
    return lines


def _sentence(sentence: Sentence) -> str:
    return f"- {f'**{text(sentence.question)}** ' if sentence.question else ''}{text(sentence.text)}"


def _table(table: Table) -> list[str]:
    rows = [table.columns, ("---",) * len(table.columns), *table.rows]
    shown = [row if row[0] == "---" else tuple(map(text, row)) for row in rows]
    return [f"{text(table.caption)}. {code(table.command)}", "", *(f"| {' | '.join(row)} |" for row in shown), ""]


def code(command: str) -> str:
    """A command of this program's own, which holds no backticks."""
    return f"`{command}`"


_MEANT = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|#~!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"})


def text(words: str) -> str:
    """Text that Markdown shows as it is, on one line: names in records are anybody's."""
    return " ".join(words.translate(_MEANT).split())
