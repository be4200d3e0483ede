"""`normsuite init`: files that have a project guarded."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import ArgumentError
from .options import Json
from .output import line, write_json


def init(
    package: Annotated[Optional[str], typer.Argument(help="The package to guard; found where left out.")] = None,
    folder: Annotated[Path, typer.Option(help="The project's folder.")] = Path(),
    asv: Annotated[bool, typer.Option("--asv", help="Also files for asv, for the history.")] = False,
    to: Json = None,
) -> None:
    """Set up a project: [tool.normsuite] in pyproject.toml, a workflow, and files for asv. Nothing is overwritten."""
    from ..targets.scaffold import files, packages

    if package is None:
        found = packages(folder)
        if len(found) != 1:
            raise ArgumentError("package", package, f"name one: there are {', '.join(found) or 'none'} here")
        (package,) = found
    written, kept = files(folder, package, asv=asv)
    if to is not None:
        write_json({"package": package, "wrote": list(map(str, written)), "kept": list(map(str, kept))}, to)
    if to == "-":
        return
    for path in written:
        line(f"wrote {path}")
    for path in kept:
        line(f"kept {path}, which was there")
    line("next: normsuite check, then normsuite gate HEAD~1")


COMMANDS = (init,)
