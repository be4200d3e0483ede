"""The report as data: pages of sections, which a format turns into text."""

from dataclasses import dataclass

from ..presentation.charts import Chart
from ..presentation.table import Table


@dataclass(frozen=True)
class Sentence:
    """Something that the records say, with its figures.

    Attributes:
        text: the sentence.
        question: what it answers; "" for none.
        page: the key of the page that says more; "" for none.
        section: of that page.
    """

    text: str
    question: str = ""
    page: str = ""
    section: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page: text, then sentences, charts and tables.

    Attributes:
        key: its identifier within the page.
        title: its heading.
        text: paragraphs that do not depend on the records.
        sentences: those that do.
        charts, tables: in their order.
        missing: what has not been recorded; "" where everything has.
        command: what records it.
        folded: whether it opens on demand.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    missing: str = ""
    command: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        key: its identifier and its file's name, without the ending.
        name: in the navigation.
        title: its heading.
        lead: one paragraph below it.
        sections: what follows.
    """

    key: str
    name: str
    title: str
    lead: str
    sections: tuple[Section, ...]
