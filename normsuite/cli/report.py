"""`normsuite report`: pages of all records."""

import gc
import webbrowser
from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import vocabulary
from ..errors import ArgumentError, NormsuiteError
from ..machine import lazy_imports
from ..machine.garbage import uncollected
from ..machine.helpers import Helpers
from ..records import kinds
from .options import REPORTS, Json, choice, folder, git_repository, pattern
from .output import DISTRIBUTIONS, line, notes, write_json

_LONG = 250
"""Files of asv's: with more there is enough to do for several processes from the beginning."""

_MODULES = ("matplotlib.backends.backend_svg", "matplotlib.figure")
"""What a helper needs for charts, beside what this process has."""

_LATE = (*DISTRIBUTIONS, "scipy.special")
"""What it does not need, and would load with these."""


def report(
    source: Annotated[Path, typer.Option("--from", help="Folder with a subfolder of records of each kind.")] = REPORTS,
    out: Annotated[Path, typer.Option(help="Folder for the pages.", callback=folder)] = REPORTS / "html",
    commit: Annotated[
        Optional[str], typer.Option(help="Commit whose cost to show; the one measured last where left out.")
    ] = None,
    series: Annotated[
        Optional[str],
        typer.Option(
            metavar="PATTERN",
            help="Series of asv's whose trend to draw: benchmark and parameters, as text.",
            callback=pattern("series"),
        ),
    ] = None,
    repository: Annotated[Path, typer.Option(help="Whose commits asv's results are of; for their order.")] = Path("."),
    format: Annotated[
        str, choice("format", vocabulary.FORMATS, "html, or markdown: one file of sentences and tables.")
    ] = vocabulary.FORMATS[0],
    compare: Annotated[
        Optional[tuple[Path, Path]], typer.Option(metavar="A B", help="Two folders of records, side by side, instead.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Show the report in the browser.")] = False,
    to: Json = None,
) -> None:
    """Write the report from what has been recorded."""
    where = {"from": (source, REPORTS), "repository": (repository, Path())}
    alone = {"commit": commit, "series": series, **{name: None if a == b else str(a) for name, (a, b) in where.items()}}
    for name, given in alone.items() if compare is not None else ():
        if given is not None:
            raise ArgumentError(name, given, "is not for --compare, which shows two folders side by side")
    git_repository(repository)
    with uncollected(), Helpers(modules=_MODULES, late=_LATE) as helpers:  # a long history is a million values
        lazy_imports.load(*DISTRIBUTIONS)
        from .. import report as reporting

        if compare is None and source != REPORTS and not source.is_dir():
            raise ArgumentError("from", str(source), "is no folder")
        if compare is None and format == "html" and _is_long(source):
            helpers.start()
        if compare is not None:
            page, said = reporting.write_comparison(*compare, out, format=format)
        else:
            page, said = reporting.write(
                source, out, commit=commit, series=series, format=format, helpers=helpers, repository=repository
            )
        gc.freeze()  # what is left ends with this process: there is nothing to search for
    if to is not None:
        write_json({"page": str(page), "notes": said}, to)
    if to != "-":
        notes(said)
        line(f"wrote {page}")
    if show and not webbrowser.open(page.resolve().as_uri()):
        raise NormsuiteError(f"open: no browser was found for {page}")


def _is_long(source: Path) -> bool:
    return sum(1 for _ in (source / kinds.ASV.folder).glob("*/*.json")) > _LONG


COMMANDS = (report,)
