"""`normsuite gate`: whether a commit made a package slower, heavier or less accurate."""

import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..conventions import exit_codes
from ..conventions.defaults import ERROR_RATE_SEEDS
from ..errors import ArgumentError
from ..files import writing
from ..presentation.text import counted
from ..records import kinds, results
from . import gated
from .gated import Budget, Limit, Margins, WorseAbove
from .options import (
    REPORTS,
    Activations,
    Cases,
    CellBackends,
    Device,
    Dtypes,
    Json,
    Markdown,
    Modes,
    Norms,
    Only,
    Out,
    Threads,
    at_least,
)
from .output import interrupted, line, note, print_tables, refuse_two_outputs, status, write, write_json

Base = Annotated[Optional[str], typer.Argument(help="The commit to compare with; required.")]
Head = Annotated[Optional[str], typer.Argument(help="The commit in question; the working tree where left out.")]
ErrorRate = Annotated[
    bool, typer.Option("--error-rate", help="Also train with either version, and compare error rates.")
]
Seeds = Annotated[
    Optional[int],
    typer.Option(help=f"Seeds of --error-rate; {ERROR_RATE_SEEDS} where left out.", callback=at_least("seeds", 2)),
]
Apart = Annotated[bool, typer.Option("--apart", help="Each version in processes of its own.")]
BasePython = Annotated[
    Optional[Path], typer.Option(help="Interpreter for the base, with other dependencies; implies --apart.")
]
HeadPython = Annotated[Optional[Path], typer.Option(help="The same for the head.")]
Accepted = Annotated[
    Optional[Path], typer.Option(help="Known regressions; gate-accepted.toml beside pyproject.toml where left out.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which cells would be measured, and measure none.")]


def gate(
    base: Base = None,
    head: Head = None,
    only: Only = None,
    norm: Norms = None,
    backend: CellBackends = None,
    case: Cases = None,
    mode: Modes = None,
    activation: Activations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    budget: Budget = None,
    margin: Margins = None,
    worse_above: WorseAbove = None,
    limit: Limit = None,
    error_rate: ErrorRate = False,
    seeds: Seeds = None,
    threads: Threads = None,
    apart: Apart = False,
    base_python: BasePython = None,
    head_python: HeadPython = None,
    accepted: Accepted = None,
    dry_run: DryRun = False,
    out: Out = REPORTS / kinds.GATE.folder,
    markdown: Markdown = None,
    to: Json = None,
) -> None:
    """Compare HEAD with BASE: is it slower, heavier or less accurate? Both are measured side by side, call by call.

    Exit codes: 0 no regression, 1 regression, 2 could not run, 3 nothing measured, nothing decided, or too little
    excluded: the intervals do not rule out that a cell is slower by more than the limit.
    """
    refuse_two_outputs(to, markdown)
    if seeds is not None and not error_rate:
        raise ArgumentError("seeds", seeds, "is for --error-rate")
    if base is None:
        raise ArgumentError("base", base, "which commit is to be compared with?")
    pythons = {
        side: _interpreter(f"{side}_python", given)
        for side, given in (("base", base_python), ("head", head_python))
        if given is not None
    }
    chosen = {
        "norms": norm, "backends": backend, "cases": case, "modes": mode, "activations": activation, "dtypes": dtype,
        "only": only, "device": device,
    }  # fmt: skip
    gated.known_commits({"base": base, "head": head})  # before torch is loaded
    margins = gated.margins(margin, worse=worse_above, limit=limit)
    if worse_above is not None and margins["worse"] > margins["time"]:
        raise ArgumentError("worse_above", worse_above, f"must be at most the margin of times, {margins['time']:g}")
    seeds_each = (seeds or ERROR_RATE_SEEDS) if error_rate else None
    setup, project = gated.setup_of(
        base, head, chosen, budget_s=budget, threads=threads, apart=apart or bool(pythons), pythons=pythons,
        margins=margins, seeds=seeds_each, working_tree=True,
    )  # fmt: skip
    if dry_run:
        for name, given in (("markdown", markdown), ("accepted", accepted)):
            if given is not None:
                raise ArgumentError(name, str(given), "nothing is compared with --dry-run")
        _dry_run(setup, to)
        return
    _compare(setup, accepted, project, out, to, markdown)


def _interpreter(argument: str, path: Path) -> str:
    """Return the absolute path of an interpreter.

    A symbolic link is not resolved, since a virtual environment is recognised by its link.
    """
    if not path.is_file():
        raise ArgumentError(argument, str(path), "no such interpreter")
    if not os.access(path, os.X_OK):
        raise ArgumentError(argument, str(path), "is no program: its file may not be executed")
    return str(path.absolute())


def _compare(setup, accepted: Path | None, project, out: Path, to: str | None, markdown: str | None) -> None:
    from datetime import date

    from ..gate import accepted as known
    from ..gate import comment, compare, summary, tables

    if accepted is None and (project.folder / known.FILE).is_file():
        accepted = project.folder / known.FILE
    entries = known.read(accepted) if accepted is not None else []
    for text in known.notes(entries, date.today()):
        note(text)
    if setup.base.digest == setup.head.digest and not setup.pythons:
        said = f"{setup.head.title} has the same package as {setup.base.title}: nothing to compare"
        if to is not None:
            write_json({"exit_code": exit_codes.OK, "sentences": [said], "rows": [], "record": None}, to)
        if markdown is not None:
            write(comment.nothing_compared(said), markdown)
        if to != "-" and markdown != "-":
            line(said)
        return
    writing.output_folder(out, "out")
    with status() as show:
        outcome = compare.run(setup, lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"))
    for text in outcome.notes:
        note(text)
    record, found = None, []
    if outcome.record is not None:
        rules = (entries, date.today(), project.gate.undecided)
        record = summary.with_rules(outcome.record, *rules, was_interrupted=outcome.interrupted)
        results.write_record(out, compare.name(record), record)
        found = summary.rows(record)
        if to is not None:
            write_json(summary.as_dict(record, found), to)
        if markdown is not None:
            write(comment.comment(record, found), markdown)
        if to != "-" and markdown != "-":
            print_tables(tables.verdicts(record, summary.notable(found)))
            ending = [] if outcome.interrupted else [summary.ending(record, found)]
            for text in (*summary.sentences(record, found), *ending):
                line(text)
    if outcome.interrupted:
        raise interrupted()
    raise typer.Exit(summary.exit_code(record, found))


def _dry_run(setup, to: str | None) -> None:
    setup.check()
    names = [cell.name for cell in setup.cells]
    if to is not None:
        write_json({"cells": names, "budget_s": setup.budget_s}, to)
    if to != "-":
        for name in names:
            line(name)
        apart = ", each version in processes of its own" if setup.apart else ""
        versions = f"{setup.head.title} against {setup.base.title}"
        line(f"{versions}: {counted(len(names), 'cell')} in {setup.budget_s:g} s{apart}")


COMMANDS = (gate,)
