"""What commands write: tables, notes, JSON and progress, on a terminal, a pipe or into a file."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from ..conventions import exit_codes
from ..errors import ArgumentError, OutputError
from ..files import writing
from ..files.reading import printable
from ..machine.streams import Closed

if TYPE_CHECKING:
    from ..presentation.table import Table


class _Printed(Console):
    """A console whose reader may have gone, which `main` says by its own exit code; rich would end with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _width() -> int | None:
    """Return the width for tables: None for the terminal's or that of COLUMNS, 160 for a pipe or a file."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else 160


console = _Printed(width=_width())
DISTRIBUTIONS = ("scipy.stats", "scipy.optimize")
"""What takes longest to load of all that reading records may need."""

_quiet = False


def be_quiet() -> None:
    """Suppress progress and notes from now on; results, verdicts and errors are still printed."""
    global _quiet
    _quiet = True


def note(text: str) -> None:
    """Print a note on standard error, on one line."""
    if not _quiet:
        print(f"normsuite: {printable(text)}", file=sys.stderr)


def notes(texts: Iterable[str]) -> None:
    """Print notes on what was read, above the results that they are about."""
    for text in texts:
        if not _quiet:
            line(f"note: {text}")


def interrupted(kept: str = "what was finished is kept") -> typer.Exit:
    """Print that the command was interrupted, and return the exception that ends it."""
    print(f"normsuite: interrupted; {kept}", file=sys.stderr)
    return typer.Exit(exit_codes.INTERRUPTED)


def line(text: str, on: Console | None = None) -> None:
    """Print a line of results as it is, however long, and whatever stands in brackets.

    Args:
        on: the console of a progress bar that is shown; the usual one where left out.
    """
    (on or console).print(text, highlight=False, markup=False, soft_wrap=True)


def print_tables(*tables: "Table") -> None:
    """Print tables of results."""
    from ..presentation.terminal import drawn

    for table in tables:
        console.print(drawn(table))


def refuse_two_outputs(json: str | None, markdown: str | None) -> None:
    """Raise ArgumentError where both are to go to one place: one would replace the other, or stand behind it."""
    places = [given if given in (None, "-") else Path(given).absolute() for given in (json, markdown)]
    if json is not None and places[0] == places[1]:
        raise ArgumentError("markdown", markdown, "is where --json goes already: name another file")


def write_json(value: object, target: str) -> None:
    """Write a value as JSON to that file, or to standard output for "-"."""
    write(writing.to_json(value) + "\n", target)


def write(text: str, target: str) -> None:
    """Write a text to that file, or to standard output for "-".

    Raises:
        ArgumentError: no file is named.
        OutputError: it cannot be written.
    """
    if not target.strip():
        raise ArgumentError("path", target, "is empty; - is the standard output")
    if target != "-":
        writing.write_text(Path(target), text)
    elif isinstance(sys.stdout, Closed):
        raise OutputError("the standard output is closed: nothing can be written there")
    else:
        sys.stdout.write(text)


def progress_bar(unit: str):
    """Return a progress bar on standard error, not yet started."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True, quiet=_quiet),
        disable=_quiet,
    )


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is going on, in a line on standard error that is cleared at the end.

    Without a terminal nothing is shown.
    """
    terminal = Console(stderr=True, quiet=_quiet)
    with terminal.status("") as shown:
        yield lambda text: shown.update(escape(text))
