"""`normsuite bisect`: which commit made a cell worse."""

from typing import Annotated

import typer

from ..conventions import exit_codes
from ..conventions.defaults import BISECT_BUDGET_S
from ..errors import UnknownNameError
from ..files import writing
from ..records import kinds
from . import gated, options
from .options import (
    REPORTS,
    Activations,
    Cases,
    CellBackends,
    Device,
    Dtypes,
    Json,
    Modes,
    Norms,
    Only,
    Out,
    Threads,
)
from .output import interrupted, line, status, write_json


def _metric(given: str) -> str:
    from ..measure import metric as metrics  # those of other packages, which may load what they like

    known = metrics.judged_rows()
    if given not in known:
        raise UnknownNameError.among("metric", given, known)
    return given


def bisect(
    good: Annotated[str, typer.Argument(help="A commit before the step.")],
    bad: Annotated[str, typer.Argument(help="A commit after it.")] = "HEAD",
    only: Only = None,
    norm: Norms = None,
    backend: CellBackends = None,
    case: Cases = None,
    mode: Modes = None,
    activation: Activations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    budget: Annotated[
        float,
        options.budget(
            "Time for a comparison; a suspect that stays undecided gets four times it.", default_s=BISECT_BUDGET_S
        ),
    ] = BISECT_BUDGET_S,
    metric: Annotated[
        str,
        typer.Option(
            help="time, peak bytes, saved bytes, or an error with its mean: output error at mean 0.", callback=_metric
        ),
    ] = "time",
    threads: Threads = None,
    out: Out = REPORTS / kinds.GATE.folder,
    to: Json = None,
) -> None:
    """Find the commit that made a cell worse, by the gate, in about log2 n comparisons of n commits.

    Exit codes: 0 found, 2 could not run, 3 no step, or nothing that could be decided.
    """
    gated.known_commits({"good": good, "bad": bad})
    chosen = {
        "norms": norm, "backends": backend, "cases": case, "modes": mode, "activations": activation, "dtypes": dtype,
        "only": only, "device": device,
    }  # fmt: skip
    planned, source, project = gated.planned(chosen)
    from ..gate import bisection, compare

    writing.output_folder(out, "out")
    with status() as show:
        try:
            found = bisection.run(
                good,
                bad,
                repository=project.folder,
                source=source,
                apart=gated.is_apart(project),
                cells=planned.cells,
                metric=metric,
                budget_s=budget,
                threads=compare.default_threads() if threads is None else threads,
                out=out,
                on_progress=lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"),
                on_line=lambda text: line(text) if to != "-" else None,
            )
        except KeyboardInterrupt:
            raise interrupted() from None
    if to is not None:
        write_json(found.as_dict(), to)
    if to != "-":
        line(found.sentence)
    raise typer.Exit(exit_codes.OK if found.suspects else exit_codes.NOTHING)


COMMANDS = (bisect,)
