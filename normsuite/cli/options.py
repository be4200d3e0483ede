"""Options that several commands have: one name, one meaning, checked before torch is imported."""

import math
import os
import re
import stat
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .. import vocabulary
from ..conventions.defaults import BENCH_PROCESSES, BENCH_PROCESSES_ON_ACCELERATORS
from ..conventions.durations import seconds
from ..errors import ArgumentError, NormsuiteError, OutputError, UnknownNameError
from ..files.git import Git
from ..measure import cases, labels
from ..spec import NO_NORM, NORMS, find
from ..targets.arguments import parse

REPORTS = Path("reports")
BACKENDS = labels.backends()
PRESETS = tuple(sorted(path.stem for path in (Path(__file__).parent.parent / "study" / "presets").glob("*.toml")))


def share(name: str, text: str) -> float:
    """Return a share such as "1%" or "0.01" as a number, 0.01.

    Raises:
        ArgumentError: no number.
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        said = f"{name}={text}" if name else text
        raise ArgumentError("margin", said, "must be a number or a percentage, such as 2%") from None


def _each(check: Callable[[Any], object]) -> Callable:
    """Return the callback of an option that takes one value, several or none, each of which the check may refuse."""

    def checked(given):
        for value in [given] if isinstance(given, str | int | float) else given or ():
            check(value)
        return given

    return checked


def among(argument: str, known: Collection[str]) -> Callable:
    """Return a check of an option that takes one name of those, or several."""

    def check(value: str) -> None:
        if value not in known:
            raise UnknownNameError.among(argument, value, known)

    return _each(check)


def at_least(argument: str, least: float) -> Callable:
    """Return a check of an option that takes a number, or several."""

    def check(value: float) -> None:
        if value < least:
            raise ArgumentError(argument, value, f"must be at least {least}")

    return _each(check)


def positive(argument: str) -> Callable:
    """Return a check of an option that takes a number, or several, above 0."""

    def check(value: float) -> None:
        if not value > 0:
            raise ArgumentError(argument, value, "must be positive")
        if value == math.inf:
            raise ArgumentError(argument, value, "must be finite")

    return _each(check)


def git_repository(given: Path) -> Path:
    """Return a folder that the user names, if it is in a repository of git's; the present one need not be."""
    if given != Path("."):
        try:
            Git(given, foreign=True)("rev-parse", "--git-dir")
        except NormsuiteError as error:
            raise ArgumentError("repository", str(given), f"is no repository of git's ({error})") from None
    return given


def pattern(argument: str) -> Callable:
    """Return a check of an option that takes a regular expression."""

    def check(text: str) -> None:
        try:
            re.compile(text)
        except re.error as error:
            raise ArgumentError(argument, text, f"is no regular expression ({error})") from None

    return _each(check)


def arguments(text: str) -> typer.models.OptionInfo:
    """Return the option for the arguments of users' norms."""
    return typer.Option("--args", help=text, callback=_each(parse))


def shapes(text: str) -> typer.models.OptionInfo:
    """Return the option for the shape of an input, or several."""
    return typer.Option("--shape", help=text, callback=_each(cases.parse_shape))


def parser(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Return the parser of an option whose errors are said as they are: typer puts a ValueError in words of its own."""

    def parsed(given: str) -> float:
        try:
            return parse(given)
        except ArgumentError as error:
            raise NormsuiteError(str(error)) from None

    return parsed


one_share = parser(lambda given: share("", str(given)))
"""Parses a share that is typed alone, as `share` does."""


def budget(text: str, *, default_s: float | None = None) -> typer.models.OptionInfo:
    """Return the option for a time to spend, such as 120s, which is taken in seconds; help shows that default."""
    shown = True if default_s is None else f"{default_s:g}s"
    return typer.Option(
        "--budget", help=text, metavar="TIME", parser=parser(partial(seconds, "budget")), show_default=shown
    )


def import_paths(given: Sequence[str] | None) -> None:
    """Raise an ArgumentError for a target that is no import path."""
    for name in given or ():
        if ":" not in name:
            raise ArgumentError("target", name, "must be an import path such as torch.nn:LayerNorm")


def _why_not_in(folder: Path) -> str | None:
    """Return why nothing can be written into that folder, or into a new one of that name; None where it may be."""
    try:
        nearest = next(each for each in (folder, *folder.parents) if each.exists())
        if not nearest.is_dir():
            return "Not a directory"
    except OSError as error:
        return error.strerror or str(error)
    return None if os.access(nearest, os.W_OK) else "Permission denied"


def file(given: str | None) -> str | None:
    """Refuse what cannot be written before anything is measured for it."""
    if given is None or given == "-":
        return given
    path = Path(given).absolute()
    if not given.strip():
        raise ArgumentError("path", given, "is empty; - is the standard output")
    if why := _why_not(path):
        raise OutputError(f"cannot write {given!r} ({why})")
    return given


def _why_not(path: Path) -> str | None:
    """Return why that file cannot be written, or None where it may be."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _why_not_in(path.parent)
    except (OSError, ValueError) as error:  # too long, with a NUL, or in a folder that may not be looked into
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISDIR(found.st_mode):
        return "Is a directory"
    return None if os.access(path, os.W_OK) else "Permission denied"


def folder(given: Path | None) -> Path | None:
    """Return that folder of results, unless nothing can be written there."""
    if given is not None and (why := _why_not_in(given.absolute())):
        raise OutputError(f"out = {str(given)!r}: cannot write there ({why})")
    return given


def names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a completion among those names."""

    def starting(incomplete: str) -> list[str]:
        return [name for name in known if name.lower().startswith(incomplete.lower())]

    return starting


def _norm_or_none(name: str) -> None:
    if name != NO_NORM:
        find(name)


def _like(given: str) -> None:
    if given.lower() != NO_NORM:
        find(given, "like")


def like(text: str) -> typer.models.OptionInfo:
    """Return the option that says which norm users' norms are like."""
    return typer.Option("--like", help=text, callback=_each(_like), autocompletion=names([*NORMS]))


def choice(argument: str, known: Sequence[str], text: str) -> typer.models.OptionInfo:
    """Return an option that takes one of those names, or several where it is a list."""
    return typer.Option(f"--{argument}", help=text, callback=among(argument, known), autocompletion=names(known))


Norms = Annotated[
    Optional[list[str]],
    typer.Option("--norm", help="A norm; again for more.", callback=_each(find), autocompletion=names([*NORMS])),
]
NormsOrNone = Annotated[
    Optional[list[str]],
    typer.Option(
        "--norm",
        help="A norm, or none; again for more.",
        callback=_each(_norm_or_none),
        autocompletion=names([*NORMS, NO_NORM]),
    ),
]
NormArgument = Annotated[
    Optional[str],
    typer.Argument(help="One norm; all where left out.", callback=_each(find), autocompletion=names([*NORMS])),
]


def _backend_of_cells(value: str, known: Sequence[str] = BACKENDS) -> None:
    """Check a name among those known, or a module such as "auto BatchNorm2d"."""
    backend, _, module = value.partition(" ")
    if value in known or (backend in BACKENDS and module in labels.MODULES):
        return
    if backend in BACKENDS and module:
        raise UnknownNameError.among("backend", value, [f"{backend} {name}" for name in labels.MODULES])
    raise UnknownNameError.among("backend", value, known)


def _implementation(value: str) -> None:
    """Check a name, and leave an import path such as "module:Norm(8)" unchecked until it is loaded."""
    if ":" not in value:
        _backend_of_cells(value, labels.implementations())


def checked_device(given: str | None) -> str | None:
    """Return the device if torch knows devices of that kind; whether one is here is checked later."""
    if given is None or given.partition(":")[0] in vocabulary.DEVICES:
        return given
    if not entry_points(group=vocabulary.DEVICE_ENTRY_POINTS):  # else torch is asked, which loads them
        raise UnknownNameError.among("device", given, vocabulary.DEVICES)
    return given


CellBackends = Annotated[
    Optional[list[str]],
    typer.Option(
        "--backend",
        help=f"{', '.join(BACKENDS)}, or a module such as 'auto BatchNorm2d'; again for more.",
        callback=_each(_backend_of_cells),
        autocompletion=names(BACKENDS),
    ),
]
Implementations = Annotated[
    Optional[list[str]],
    typer.Option(
        "--backend",
        help="Implementations beside torch.nn and a copy: backends and rivals; again for more.",
        callback=_each(_implementation),
        autocompletion=lambda incomplete: names(labels.implementations())(incomplete),
    ),
]
Cases = Annotated[
    Optional[list[str]],
    typer.Option(
        "--case",
        help="A case by name; again for more.",
        callback=among("case", cases.every()),
        autocompletion=names([*cases.every()]),
    ),
]
Only = Annotated[
    Optional[list[str]], typer.Option("--only", help="Cells by pattern, such as 'GroupNorm/*/step'; again for more.")
]
Modes = Annotated[
    Optional[list[str]], choice("mode", vocabulary.MODES, f"{', '.join(vocabulary.MODES)}; again for more.")
]
Activations = Annotated[
    Optional[list[str]],
    choice(
        "activation",
        (vocabulary.NO_ACTIVATION, *vocabulary.ACTIVATIONS),
        f"{vocabulary.NO_ACTIVATION}, {', '.join(vocabulary.ACTIVATIONS)}; again for more.",
    ),
]
Dtypes = Annotated[
    Optional[list[str]], choice("dtype", vocabulary.DTYPES, f"{', '.join(vocabulary.DTYPES)}; again for more.")
]
_DEVICE = typer.Option(
    "--device",
    help="cpu, or an accelerator such as cuda.",
    callback=checked_device,
    autocompletion=names(vocabulary.DEVICES),
)
Device = Annotated[str, _DEVICE]
DeviceOrNone = Annotated[Optional[str], _DEVICE]
Threads = Annotated[
    Optional[int],
    typer.Option(
        "--threads", help="Threads of each process; torch's own number where left out.", callback=at_least("threads", 1)
    ),
]
Processes = Annotated[
    Optional[int],
    typer.Option(
        "--processes",
        help=f"Fresh processes that take times; {BENCH_PROCESSES} where left out, on an accelerator "
        f"{BENCH_PROCESSES_ON_ACCELERATORS}.",
        callback=at_least("processes", 1),
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Where records go.", callback=folder)]
Json = Annotated[
    Optional[str],
    typer.Option(
        "--json",
        metavar="PATH",
        help="Write JSON there, in new folders if need be; - for standard output.",
        callback=file,
    ),
]
Markdown = Annotated[
    Optional[str],
    typer.Option(
        "--markdown",
        metavar="PATH",
        help="Write Markdown there, as --json; - for standard output.",
        callback=file,
    ),
]
