"""The command `normsuite`, a file for each of its commands.

Each loads what it needs when it runs: those that only read start at once.
"""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import NormsuiteError
from .bench import bench
from .doctor import doctor
from .explain import explain
from .gate import bisect, gate
from .history import history
from .numerics import numerics
from .report import report
from .study import study

app = typer.Typer(
    name="normsuite",
    help="Normalization layers compared: what they average over, cost and learn, and whether a commit made them worse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (explain, study, bench, numerics, gate, bisect, history, doctor, report):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; an expected error is one line on standard error and exit code 2."""
    try:
        app()
    except NormsuiteError as error:
        print(f"normsuite: {error}", file=sys.stderr)
        sys.exit(2)
