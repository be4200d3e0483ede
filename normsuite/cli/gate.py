"""`normsuite gate`: whether a commit made a package slower, heavier or less accurate."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import codes, results, writing
from ..errors import ArgumentError, NormsuiteError
from ..presentation.text import counted
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
    seconds,
    share,
)
from .shared import console, interrupted, line, note, print_tables, status, write, write_json

TABLES, PLANTED_TABLES = 60, 15
"""Of a self-check, where no other number is given."""


def margins(given: list[str]) -> dict[str, float]:
    """Return the usual margins, replaced by those given as "metric=value", or as "value" for the time.

    Raises:
        ArgumentError: no such metric, or no number.
    """
    from ..gate.measure import MARGINS

    found = dict(MARGINS)
    for text in given:
        name, _, value = text.rpartition("=")
        name = name or "time"
        if name not in found:
            raise ArgumentError("margin", text, f"unknown metric; known are {', '.join(found)}")
        found[name] = share(name, value)
    return found


def _further(**given: str | None) -> list[str]:
    return [f"{name}={text}" for name, text in given.items() if text is not None]


Base = Annotated[Optional[str], typer.Argument(help="The commit to compare with.")]
Head = Annotated[Optional[str], typer.Argument(help="The commit in question; the working tree where left out.")]
Budget = Annotated[
    Optional[str], typer.Option(help="Time to spend on bytes, errors and times; the project's, or 120s.")
]
Margins = Annotated[
    Optional[list[str]],
    typer.Option(help="How much more still counts as the same: 2%, or bytes=5%; again for more."),
]
WorseAbove = Annotated[
    Optional[str], typer.Option(help="A slowdown that is certainly above this is worse: 0.25%, or the margin.")
]
Limit = Annotated[Optional[str], typer.Option(help="Exit code 3 where a cell may be slower by more than this: 5%.")]
ErrorRate = Annotated[
    bool, typer.Option("--error-rate", help="Also train with either version, and compare error rates.")
]
Seeds = Annotated[int, typer.Option(help="For --error-rate.")]
Apart = Annotated[bool, typer.Option("--apart", help="Each version in processes of its own.")]
BasePython = Annotated[
    Optional[Path], typer.Option(help="Interpreter for the base, with other dependencies; implies --apart.")
]
HeadPython = Annotated[Optional[Path], typer.Option(help="The same for the head.")]
Accepted = Annotated[
    Optional[Path], typer.Option(help="Known regressions; gate-accepted.toml in the repository where left out.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which cells would be measured, and measure none.")]
HiddenSelfCheck = Annotated[bool, typer.Option("--self-check", hidden=True)]
"""The command self-check, under the name that it had."""
HiddenNumber = Annotated[int, typer.Option(hidden=True)]
OutOrNone = Annotated[Optional[Path], typer.Option(help="Where the records go; reports/gate or reports/self-check.")]
Markdown = Annotated[
    Optional[str], typer.Option(metavar="PATH", help="Write a table for a pull request there; - to print it.")
]


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
    seeds: Seeds = 10,
    threads: Threads = None,
    apart: Apart = False,
    base_python: BasePython = None,
    head_python: HeadPython = None,
    accepted: Accepted = None,
    dry_run: DryRun = False,
    self_check: HiddenSelfCheck = False,
    tables: HiddenNumber = TABLES,
    planted_tables: HiddenNumber = PLANTED_TABLES,
    asv_pairs: HiddenNumber = 0,
    out: OutOrNone = None,
    markdown: Markdown = None,
    to: Json = None,
) -> None:
    """Compare HEAD with BASE: is it slower, heavier or less accurate? Both are measured side by side, call by call.

    Exit codes: 0 no regression, 1 regression, 2 could not run, 3 nothing measured, nothing decided, or too little
    excluded: a cell may be slower by more than the limit.
    """
    if base is None and not self_check:
        raise ArgumentError("base", base, "which commit is to be compared with?")
    if self_check and head is not None:
        raise ArgumentError("head", head, "a self-check compares BASE with itself")
    for name, value in {"dry_run": dry_run, "error_rate": error_rate, "markdown": markdown}.items():
        if self_check and value:
            raise ArgumentError(name, value, "is no option of a self-check")
    pythons = {
        side: _interpreter(f"{side}_python", given)
        for side, given in (("base", base_python), ("head", head_python))
        if given is not None
    }
    what = {"norms": norm, "backends": backend, "cases": case, "modes": mode, "activations": activation}
    what |= {"dtypes": dtype, "only": only}
    margin = [*(margin or []), *_further(worse=worse_above, limit=limit)]
    if worse_above is not None and (wide := margins(margin))["worse"] > wide["time"]:
        raise ArgumentError("worse_above", worse_above, f"must be at most the margin of times, {wide['time']:g}")
    if budget is not None:
        seconds(budget)  # before torch is loaded
    timing = {"budget": budget, "threads": threads, "apart": apart or bool(pythons), "pythons": pythons}
    if self_check:
        setup, project = _setup(base, base, what, device, margin, timing)
        _self_check(setup, project.folder, tables, planted_tables, asv_pairs, out or REPORTS / "self-check", to)
        return
    seeds_each = seeds if error_rate else None
    setup, project = _setup(base, head, what, device, margin, timing, seeds_each, working_tree=True)
    if dry_run:
        _dry_run(setup, to)
        return
    _compare(setup, accepted, project, out or REPORTS / "gate", to, markdown)


def self_check(
    base: Annotated[str, typer.Argument(help="The commit that is compared with itself.")] = "HEAD",
    only: Only = None,
    norm: Norms = None,
    backend: CellBackends = None,
    case: Cases = None,
    mode: Modes = None,
    device: Device = "cpu",
    budget: Annotated[str, typer.Option(help="Time to spend on a table.")] = "120s",
    tables: Annotated[int, typer.Option(help="A/A controls: tables of a version against itself.")] = TABLES,
    planted_tables: Annotated[int, typer.Option(help="Tables with injected slowdowns.")] = PLANTED_TABLES,
    asv_pairs: Annotated[
        int, typer.Option(help="How many pairs with injected slowdowns `asv continuous` is given too.")
    ] = 0,
    threads: Threads = None,
    out: Out = REPORTS / "self-check",
    to: Json = None,
) -> None:
    """Find out how often the gate is wrong: false alarms in A/A controls, and injected slowdowns that it finds."""
    what = {"norms": norm, "backends": backend, "cases": case, "modes": mode, "only": only}
    timing = {"budget": budget, "threads": threads, "apart": False}
    setup, project = _setup(base, base, what, device, None, timing)
    _self_check(setup, project.folder, tables, planted_tables, asv_pairs, out, to)


def _setup(base, head, what, device, margin, timing, seeds=None, *, working_tree=False):
    """Return what is to be compared, and the project.

    The head is the base, a commit or the working tree.
    """
    from ..gate import guarded, measure, trees
    from ..gate.setup import Setup

    planned, source, project = _planned(what, device)
    trained = {} if seeds is None else guarded.trained(project, planned)
    here = {"repository": project.folder, "source": source}
    before = trees.of_commit("HEAD" if base is None else base, argument="base", **here)
    if not working_tree:
        after = before
    elif head is None:
        after = trees.of_working_tree(**here)
    else:
        after = trees.of_commit(head, argument="head", **here)
    pythons = timing.get("pythons", {})
    setup = Setup(
        base=before,
        head=after,
        cells=planned.cells,
        margins=margins(margin or []),
        budget_s=project.gate.budget_s if timing["budget"] is None else seconds(timing["budget"]),
        threads=measure.default_threads() if timing["threads"] is None else timing["threads"],
        apart=timing["apart"] or _is_apart(project),
        pythons=pythons,
        norms=list(trained),
        targets={name: target for name, target in trained.items() if target is not None},
        **({"seeds": seeds} if seeds is not None else {}),
    )
    return setup, project


def _is_apart(project) -> bool:
    """Return whether a project's versions want processes of their own: compiled parts lie in no process twice."""
    return project.isolation == "process" or bool(project.build)


def _planned(what, device):
    """Return the cells with their targets, the packages whose versions are compared, and the project here.

    Args:
        what: what is measured, by option.
        device: that it is measured on.
    """
    from ..gate import guarded, trees
    from ..targets.configuration import FILE, find_project

    trees.root(Path())  # says where there is no repository
    project = find_project(Path())
    if project is None:
        raise NormsuiteError(f"no {FILE} here or above has [tool.normsuite]: `normsuite init` writes it")
    source = guarded.source_of(project)
    planned = guarded.plan(project, **{name: given or () for name, given in what.items()}, device=device)
    for text in planned.notes:
        note(text)
    return planned, source, project


def _interpreter(argument: str, path: Path) -> str:
    """Return the absolute path of an interpreter.

    A symbolic link is not resolved, since a virtual environment is recognised by its link.
    """
    if not path.is_file():
        raise ArgumentError(argument, str(path), "no such interpreter")
    return str(path.absolute())


def _compare(setup, accepted: Path | None, project, out: Path, to: str | None, markdown: str | None) -> None:
    from datetime import date

    from ..gate import accepted as known
    from ..gate import comment, measure, summary, tables

    if accepted is None and (project.folder / known.FILE).is_file():
        accepted = project.folder / known.FILE
    entries = known.read(accepted) if accepted is not None else []
    for text in known.notes(entries, date.today()):
        note(text)
    if setup.base.digest == setup.head.digest and not setup.pythons:
        said = f"{setup.head.title} has the same package as {setup.base.title}: nothing to compare"
        if to is not None:
            write_json({"exit_code": summary.NO_REGRESSION, "sentences": [said], "rows": [], "record": None}, to)
        if markdown is not None:
            write(comment.nothing_compared(said), markdown)
        if to != "-" and markdown != "-":
            line(said)
        return
    writing.output_folder(out, "out")
    with status() as show:
        outcome = measure.run(setup, lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"))
    for text in outcome.notes:
        note(text)
    record, found = None, []
    if outcome.record is not None:
        record = summary.with_rules(outcome.record, entries, date.today(), project.gate.undecided)
        results.write_record(out, measure.name(record), record)
        found = summary.rows(record)
        if to is not None:
            write_json(summary.as_dict(record, found), to)
        if markdown is not None:
            write(comment.comment(record, found), markdown)
        if to != "-" and markdown != "-":
            print_tables(tables.verdicts(record, summary.notable(found)))
            for text in summary.sentences(record, found):
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


def _self_check(setup, root: Path, tables: int, injected: int, asv_pairs: int, out: Path, to: str | None) -> None:
    from ..gate import rates, selfcheck

    writing.output_folder(out, "out")
    with status() as show:
        try:
            records = selfcheck.run(
                setup,
                tables=tables,
                planted_tables=injected,
                asv_pairs=asv_pairs,
                repository=root,
                out=out,
                on_progress=lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"),
                on_table=lambda record: note(rates.line(record)),
            )
        except KeyboardInterrupt:
            raise interrupted("the tables that were finished are kept") from None
    if to is not None:
        write_json(rates.as_dict(records), to)
    if to != "-":
        for text in rates.lines(records):
            console.print(text, highlight=False, soft_wrap=True)


def bisect(
    good: Annotated[str, typer.Argument(help="A commit before the step.")],
    bad: Annotated[str, typer.Argument(help="A commit after it.")] = "HEAD",
    only: Only = None,
    norm: Norms = None,
    device: Device = "cpu",
    budget: Annotated[str, typer.Option(help="Time for each comparison.")] = "60s",
    metric: Annotated[str, typer.Option(help="time, peak bytes, saved bytes, or an error by its name.")] = "time",
    threads: Threads = None,
    out: Out = REPORTS / "gate",
    to: Json = None,
) -> None:
    """Find the commit that made a cell worse, by the gate, in about log2 n comparisons of n commits.

    Exit codes: 0 found, 2 could not run, 3 no step, or nothing that could be decided.
    """
    from ..gate import bisection, measure

    planned, source, project = _planned({"norms": norm, "only": only}, device)
    writing.output_folder(out, "out")
    with status() as show:
        try:
            found = bisection.run(
                good,
                bad,
                repository=project.folder,
                source=source,
                apart=_is_apart(project),
                cells=planned.cells,
                metric=metric,
                budget_s=seconds(budget),
                threads=measure.default_threads() if threads is None else threads,
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
    raise typer.Exit(codes.OK if found.suspects else codes.NOTHING)
