"""The report: self-contained HTML pages, or Markdown, made from records alone. Imports no torch.

collect reads what was recorded; tables, charts and sentences turn it into strings; pages puts these together; render
and markdown write them down.
"""

from pathlib import Path

from ..errors import ArgumentError, UnknownNameError
from ..files import writing
from ..history.commits import Commits
from ..machine.helpers import ALONE, Helpers
from ..vocabulary import FORMATS
from . import raw
from .collect import collect
from .compare import compare
from .markdown import markdown
from .pages import pages
from .render import render


def write(
    source: Path,
    out: Path,
    *,
    commit: str | None = None,
    series: str | None = None,
    format: str = "html",
    helpers: Helpers = ALONE,
    repository: Path | None = None,
) -> tuple[Path, list[str]]:
    """Write `out/index.html`, and the pages that it leads to, or `out/report.md`, from the records under `source`.

    Args:
        source: a folder with the folders of `kinds.REPORTED`, any of which may be absent: the report then says what to
            run.
        out: the pages' folder, made if need be.
        commit: the start of the hash of the commit whose cost is shown; the one measured last where left out.
        series: a regular expression of the series of asv's whose trend is drawn; those that say most where left out.
        format: one of `FORMATS`; Markdown has the sentences and tables in one file, and no charts.
        helpers: processes that may take a share of the work.
        repository: whose commits asv's results are of, which says in which order they stand; by date where left out.

    Returns:
        The first page, and one line for everything that is missing or could not be read.

    Raises:
        ArgumentError: that commit was not measured, or no series matches, too many do, or the format has no charts.
        UnknownNameError: there is no such format.
        OutputError: a page cannot be written.
    """
    _check(format)
    if series is not None and format == "markdown":
        raise ArgumentError("series", series, "chooses charts, and Markdown has none")
    collected = collect(source, commit, series, None if repository is None else Commits(repository))
    if format == "markdown":
        texts = {"report.md": markdown(pages(collected))}
    else:
        found = raw.files(source, out)
        texts = render([*pages(collected, helpers), *([raw.page(found)] if found else [])], list(found))
    return _write(texts, out), collected.notes


def write_comparison(left: Path, right: Path, out: Path, *, format: str = "html") -> tuple[Path, list[str]]:
    """Write `out/compare.html` or `out/compare.md`: the tables of two folders of records, side by side.

    Args:
        left, right: folders as `write` takes them; A and B in the tables.
        out: the page's folder, made if need be.
        format: one of `FORMATS`.

    Returns:
        The page, and one line for everything that is missing in either or could not be read.

    Raises:
        ArgumentError: one of the two is no folder.
        UnknownNameError: there is no such format.
        OutputError: the page cannot be written.
    """
    _check(format)
    for folder in (left, right):
        if not folder.is_dir():
            raise ArgumentError("compare", str(folder), "is no folder")
    found = collect(left), collect(right)
    names = [folder.resolve().name for folder in (left, right)]
    if names[0] == names[1]:
        names = [f"{folder.resolve().parent.name}/{name}" for folder, name in zip((left, right), names, strict=True)]
    page = compare(*found, *names)
    notes = [f"{side}: {note}" for side, of in zip("AB", found, strict=True) for note in of.notes]
    return _write({"compare.md": markdown([page])} if format == "markdown" else render([page], []), out), notes


def _check(format: str) -> None:
    if format not in FORMATS:
        raise UnknownNameError.among("format", format, FORMATS)


def _write(texts: dict[str, str], out: Path) -> Path:
    """Write each text into its file; return the first, where one begins to read."""
    writing.output_folder(out, "out")
    written = [writing.write_text(out / name, text) for name, text in texts.items()]
    return written[0]
