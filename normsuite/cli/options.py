"""Options that several commands have: one name, one meaning, checked before torch is imported."""

import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import vocabulary
from ..errors import ArgumentError, UnknownNameError
from ..spec import NO_NORM, NORMS, find

REPORTS = Path("reports")
_ROOT = Path(__file__).parent.parent
BACKENDS = tuple(sorted(module.name for module in pkgutil.iter_modules([str(_ROOT / "backends")])))
PRESETS = tuple(sorted(path.stem for path in (_ROOT / "study" / "presets").glob("*.toml")))


def among(argument: str, known: Sequence[str]) -> Callable:
    """Return a check of an option that takes one name of those, or several."""

    def check(given):
        for value in [given] if isinstance(given, str) else given or ():
            if value not in known:
                raise UnknownNameError.among(argument, value, known)
        return given

    return check


def at_least(argument: str, least: float) -> Callable:
    """Return a check of an option that takes a number, or several."""

    def check(given):
        for value in [given] if isinstance(given, int | float) else given or ():
            if value < least:
                raise ArgumentError(argument, value, f"must be at least {least}")
        return given

    return check


def names(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a completion among those names."""

    def starting(incomplete: str) -> list[str]:
        return [name for name in known if name.lower().startswith(incomplete.lower())]

    return starting


def _norms(given):
    for name in given or ():
        find(name)
    return given


def _norms_or_none(given):
    return given if given is None else [_norm_or_none(name) for name in given]


def _norm_or_none(name: str) -> str:
    if name != NO_NORM:
        find(name)
    return name


def _one_norm(given):
    if given is not None:
        find(given)
    return given


def _many(argument: str, known: Sequence[str], text: str) -> typer.models.OptionInfo:
    return typer.Option(f"--{argument}", help=text, callback=among(argument, known), autocompletion=names(known))


Norms = Annotated[
    Optional[list[str]],
    typer.Option("--norm", help="A norm; again for more.", callback=_norms, autocompletion=names([*NORMS])),
]
NormsOrNone = Annotated[
    Optional[list[str]],
    typer.Option(
        "--norm",
        help="A norm, or none; again for more.",
        callback=_norms_or_none,
        autocompletion=names([*NORMS, NO_NORM]),
    ),
]
NormArgument = Annotated[
    Optional[str],
    typer.Argument(help="One norm; all where left out.", callback=_one_norm, autocompletion=names([*NORMS])),
]


def _backends_of_cells(given):
    for value in given or ():
        if not value.split() or value.split()[0] not in BACKENDS:
            raise UnknownNameError.among("backend", value, BACKENDS)
    return given


CellBackends = Annotated[
    Optional[list[str]],
    typer.Option(
        "--backend",
        help=f"{', '.join(BACKENDS)}, or a module such as 'auto BatchNorm2d'; again for more.",
        callback=_backends_of_cells,
        autocompletion=names(BACKENDS),
    ),
]
Modes = Annotated[
    Optional[list[str]], _many("mode", vocabulary.MODES, f"{', '.join(vocabulary.MODES)}; again for more.")
]
Activations = Annotated[
    Optional[list[str]],
    _many(
        "activation",
        (vocabulary.NO_ACTIVATION, *vocabulary.ACTIVATIONS),
        f"{vocabulary.NO_ACTIVATION}, {', '.join(vocabulary.ACTIVATIONS)}; again for more.",
    ),
]
Dtypes = Annotated[
    Optional[list[str]], _many("dtype", vocabulary.DTYPES, f"{', '.join(vocabulary.DTYPES)}; again for more.")
]
Device = Annotated[str, typer.Option("--device", help="cpu, or an accelerator such as cuda.")]
Threads = Annotated[
    Optional[int],
    typer.Option("--threads", help="Of each process; torch's own number.", callback=at_least("threads", 1)),
]
Json = Annotated[Optional[str], typer.Option("--json", metavar="PATH", help="Write JSON there; - for standard output.")]
