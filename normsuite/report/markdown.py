"""The report as one Markdown file: its sentences and its tables, without the charts."""

from ..presentation.markdown import captioned, code
from ..presentation.markdown import escaped as text
from .page import Page, Section, Sentence


def markdown(pages: list[Page]) -> str:
    """Return all pages, one below the other."""
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
        lines += captioned(table)
    return lines


def _sentence(sentence: Sentence) -> str:
    return f"- {f'**{text(sentence.question)}** ' if sentence.question else ''}{text(sentence.text)}"
