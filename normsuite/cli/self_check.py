"""`normsuite self-check`: how often the gate is wrong here."""

from typing import Annotated

import typer

from ..conventions.defaults import GATE_BUDGET_S
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
from .output import interrupted, line, note, status, write_json

TABLES, INJECTED_TABLES = 60, 15
"""Where no other number is given."""


def self_check(
    base: Annotated[str, typer.Argument(help="The commit that is compared with itself.")] = "HEAD",
    only: Only = None,
    norm: Norms = None,
    backend: CellBackends = None,
    case: Cases = None,
    mode: Modes = None,
    activation: Activations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    budget: Annotated[float, options.budget("Time to spend on a table.", default_s=GATE_BUDGET_S)] = GATE_BUDGET_S,
    tables: Annotated[
        int,
        typer.Option(help="A/A controls: tables of a version against itself.", callback=options.at_least("tables", 0)),
    ] = TABLES,
    injected_tables: Annotated[
        int,
        typer.Option(help="Tables with injected slowdowns.", callback=options.at_least("injected_tables", 0)),
    ] = INJECTED_TABLES,
    threads: Threads = None,
    out: Out = REPORTS / kinds.SELF_CHECK.folder,
    to: Json = None,
) -> None:
    """Find out how often the gate is wrong: false alarms in A/A controls, and injected slowdowns that it finds."""
    chosen = {
        "norms": norm, "backends": backend, "cases": case, "modes": mode, "activations": activation, "dtypes": dtype,
        "only": only, "device": device,
    }  # fmt: skip
    setup, _ = gated.setup_of(base, None, chosen, budget_s=budget, threads=threads)
    from ..gate import self_check_rates, selfcheck

    writing.output_folder(out, "out")
    with status() as show:
        try:
            records = selfcheck.run(
                setup,
                tables=tables,
                injected_tables=injected_tables,
                out=out,
                on_progress=lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"),
                on_table=lambda record: note(self_check_rates.line(record)),
            )
        except KeyboardInterrupt:
            raise interrupted("the tables that were finished are kept") from None
    if to is not None:
        write_json(self_check_rates.as_dict(records), to)
    if to != "-":
        for text in self_check_rates.lines(records):
            line(text)


COMMANDS = (self_check,)
