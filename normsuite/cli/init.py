"""`normsuite init`."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import ArgumentError
from .shared import console


def init(
    package: Annotated[Optional[str], typer.Argument(help="The package to guard; found where left out.")] = None,
    folder: Annotated[Path, typer.Option(help="The project's folder.")] = Path(),
    asv: Annotated[bool, typer.Option("--asv", help="Also files for asv, for the history.")] = False,
) -> None:
    """Set up a project: [tool.normsuite] in pyproject.toml, a workflow, and files for asv. Nothing is overwritten."""
    from ..targets.scaffold import files, packages

    if package is None:
        found = packages(folder)
        if len(found) != 1:
            raise ArgumentError("package", package, f"name one: there are {', '.join(found) or 'none'} here")
        (package,) = found
    written, kept = files(folder, package, asv=asv)
    for path in written:
        console.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
    for path in kept:
        console.print(f"kept {path}, which was there", highlight=False, markup=False, soft_wrap=True)
    console.print("next: normsuite check, then normsuite gate HEAD~1", highlight=False, markup=False, soft_wrap=True)
