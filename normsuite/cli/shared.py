"""What commands share: the terminal, where things lie, JSON, progress."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.markup import escape

from .. import results
from ..errors import ArgumentError, OutputError
from ..streams import Closed


class _Printed(Console):
    """A console whose reader may have gone, which `main` says by its own exit code; rich would end with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


console = _Printed(width=None if sys.stdout.isatty() else 160)  # a pipe or a file has no width to cut tables for
REPORTS = Path("reports")
DISTRIBUTIONS = ("scipy.stats", "scipy.optimize")
"""What takes longest to load of all that reading records may need."""

Json = Annotated[Optional[str], typer.Option("--json", metavar="PATH", help="Write JSON there; - for standard output.")]


def write_json(value: object, target: str) -> None:
    """To that file, or to standard output for "-"."""
    write(results.to_json(value) + "\n", target)


def write(text: str, target: str) -> None:
    """Write a text to that file, or to standard output for "-".

    Raises:
        ArgumentError: no file is named.
        OutputError: it cannot be written.
    """
    if not target.strip():
        raise ArgumentError("path", target, "is empty; - is the standard output")
    if target != "-":
        results.write_text(Path(target), text)
    elif isinstance(sys.stdout, Closed):
        raise OutputError("the standard output is closed: nothing can be written there")
    else:
        sys.stdout.write(text)


def progress_bar(unit: str):
    """A bar on standard error, not yet started."""
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
        console=Console(stderr=True),
    )


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what is going on, where that is a terminal, and goes when it is over."""
    terminal = Console(stderr=True)
    with terminal.status("") as line:
        yield lambda text: line.update(escape(text))
