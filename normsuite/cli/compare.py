"""`normsuite compare`: which of several calls is faster."""

from typing import Annotated

import typer

from ..conventions.defaults import COMPARE_SECONDS, SAME_WITHIN
from .options import Device, Json, one_share
from .output import line, status, write_json


def compare(
    setup: Annotated[str, typer.Argument(help="Python that is run once, such as 'import torch; x = torch.randn(9)'.")],
    statements: Annotated[list[str], typer.Argument(metavar="STMT STMT…", help="The first is the baseline.")],
    seconds: Annotated[
        float, typer.Option(help="Seconds of timing; starting processes takes further time.")
    ] = COMPARE_SECONDS,
    processes: Annotated[
        int, typer.Option(help="Fresh processes, 2 or more, one value from each; 0: all samples from one process.")
    ] = 0,
    device: Device = "cpu",
    host_time: Annotated[
        bool, typer.Option("--host-time", help="On an accelerator: compare for how long a call occupies the host.")
    ] = False,
    margin: Annotated[
        float,
        typer.Option(
            parser=one_share,
            metavar="SHARE",
            help="How far from 1 a ratio may lie and still count as the same, such as 2%.",
        ),
    ] = SAME_WITHIN,
    to: Json = None,
) -> None:
    """Time statements in turn and say which takes less, with an interval and a verdict."""
    from ..errors import ArgumentError
    from ..presentation.text import seconds as written
    from ..versus import compare as run

    if len(set(statements)) < len(statements):  # a statement beside itself shows the noise
        statements = [s if statements.index(s) == n else f"{s}  # {n + 1}" for n, s in enumerate(statements)]
    if len(statements) < 2:
        raise ArgumentError("statements", statements, "must be two or more")
    with status() as show:
        show("timing")
        found = run(
            {s: s for s in statements},
            setup=setup,
            seconds=seconds,
            processes=processes,
            device=device,
            host_time=host_time,
            margin=margin,
        )
    if to is not None:
        write_json(found.as_dict(), to)
    if to != "-":
        for name in found.names:
            line(f"{written(found.median_s(name)):>9}  {name}")
        for text in found.sentences():
            line(text)


COMMANDS = (compare,)
