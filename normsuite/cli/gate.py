"""`normsuite gate`: did that commit make it worse?"""

import re
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import results
from ..errors import ArgumentError
from .shared import REPORTS, Json, console, status, write, write_json

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
Only = Annotated[
    Optional[list[str]], typer.Option(help="Cells by pattern, such as 'GroupNorm/*/step'; again for more.")
]


def seconds(text: str) -> float:
    """90, 90s, 2m, 2min or 1h in seconds.

    Raises:
        ArgumentError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in _UNITS:
        raise ArgumentError("budget", text, "must be a time such as 120s or 2m")
    return float(match[1]) * _UNITS[match[2]]


def share(name: str, text: str) -> float:
    """1% or 0.01 as 0.01.

    Raises:
        ArgumentError: no number.
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ArgumentError("margin", f"{name}={text}", "must be a number or a percentage, such as 2%") from None


def margins(given: list[str]) -> dict[str, float]:
    """The usual margins, with those in their place that are given as metric=value, or as a value for the time.

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


def gate(
    base: Annotated[Optional[str], typer.Argument(help="The commit to compare with.")] = None,
    head: Annotated[
        Optional[str], typer.Argument(help="The commit in question; the working tree where left out.")
    ] = None,
    only: Only = None,
    norm: Annotated[Optional[list[str]], typer.Option(help="A norm; again for more. All where left out.")] = None,
    backend: Annotated[
        Optional[list[str]],
        typer.Option(help="torch, numba, auto or reference, or a module such as 'auto BatchNorm2d'."),
    ] = None,
    case: Annotated[Optional[list[str]], typer.Option(help="A case by name; again for more.")] = None,
    mode: Annotated[Optional[list[str]], typer.Option(help="forward, step or evaluation.")] = None,
    activation: Annotated[Optional[list[str]], typer.Option(help="none, relu or silu.")] = None,
    dtype: Annotated[Optional[list[str]], typer.Option(help="float32, bfloat16, float16 or float64.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda.")] = "cpu",
    budget: Annotated[
        Optional[str], typer.Option(help="Time to spend on bytes, errors and times; the project's, or 120s.")
    ] = None,
    margin: Annotated[
        Optional[list[str]],
        typer.Option(help="How much more still counts as the same: 2%, or bytes=5%; again for more."),
    ] = None,
    error_rate: Annotated[
        bool, typer.Option("--error-rate", help="Also train with either version, and compare error rates.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="For --error-rate.")] = 10,
    threads: Annotated[Optional[int], typer.Option(help="Of each process; torch's own number.")] = None,
    apart: Annotated[bool, typer.Option("--apart", help="Each version in processes of its own.")] = False,
    base_python: Annotated[
        Optional[Path], typer.Option(help="Interpreter for the base, with other dependencies; implies --apart.")
    ] = None,
    head_python: Annotated[Optional[Path], typer.Option(help="The same for the head.")] = None,
    accepted: Annotated[
        Optional[Path], typer.Option(help="Known regressions; gate-accepted.toml in the repository where left out.")
    ] = None,
    self_check: Annotated[
        bool, typer.Option("--self-check", help="Find out how often the gate itself is wrong, with BASE or HEAD.")
    ] = False,
    tables: Annotated[int, typer.Option(help="Of a version against itself, for --self-check.")] = 60,
    planted_tables: Annotated[int, typer.Option(help="With planted slowdowns, for --self-check.")] = 15,
    asv_pairs: Annotated[
        int, typer.Option(help="How many planted pairs `asv continuous` is given too, for --self-check.")
    ] = 0,
    out: Annotated[
        Optional[Path], typer.Option(help="Where the records go; reports/gate or reports/self-check.")
    ] = None,
    markdown: Annotated[
        Optional[str], typer.Option(metavar="PATH", help="Write a table for a pull request there; - to print it.")
    ] = None,
    to: Json = None,
) -> None:
    """Is HEAD slower, heavier or less accurate than BASE? Both are measured side by side, in turn, call by call.

    Exit codes: 0 no regression, 1 regression, 2 could not run, 3 nothing measured or nothing decided.
    """
    from ..gate import cells, measure, trees
    from ..targets.configuration import find_project

    here = trees.root(Path())
    project = find_project(Path())
    source, in_processes = trees.OWN, False
    if base is None and not self_check:
        raise ArgumentError("base", base, "which commit is to be compared with?")
    if self_check and head is not None:
        raise ArgumentError("head", head, "a self-check compares BASE with itself")
    if project is not None and project.packages:
        from ..gate import guarded

        if self_check or error_rate:
            option = "self_check" if self_check else "error_rate"
            raise ArgumentError(option, True, f"is for {trees.PACKAGE}'s own repository")
        chosen = {"norm": norm, "backend": backend, "case": case, "activation": activation, "dtype": dtype}
        for name, given in chosen.items():
            if given:
                raise ArgumentError(name, ", ".join(given), "is said by [[tool.normsuite.target]] here: use --only")
        source = guarded.source_of(project, here)
        planned, notes = guarded.cells(project, modes=mode or (), only=only or (), device=device)
        for note in notes:
            print(f"normsuite: {note}", file=sys.stderr)
        in_processes = project.isolation == "process" or bool(project.build)
        budget = budget or f"{project.gate.budget_s}s"
    else:
        planned = cells.plan(
            norms=norm or (),
            backends=backend or (),
            cases=case or (),
            modes=mode or (),
            activations=activation or (),
            dtypes=dtype or (),
            only=only or (),
            device=device,
        )
    before = trees.of_commit("HEAD" if base is None else base, argument="base", repository=here, source=source)
    if self_check:
        after = before
    else:
        after = (
            trees.of_working_tree(repository=here, source=source)
            if head is None
            else trees.of_commit(head, argument="head", repository=here, source=source)
        )
    pythons = {
        side: _interpreter(f"{side}_python", given)
        for side, given in (("base", base_python), ("head", head_python))
        if given is not None
    }
    setup = measure.Setup(
        base=before,
        head=after,
        cells=planned,
        margins=margins(margin or []),
        budget_s=seconds(budget or "120s"),
        threads=measure.default_threads() if threads is None else threads,
        apart=apart or bool(pythons) or in_processes,
        pythons=pythons,
        norms=list(dict.fromkeys(cell.task.spec.name for cell in planned)) if error_rate else (),
        seeds=seeds,
    )
    if self_check:
        _self_check(setup, here, tables, planted_tables, asv_pairs, out or REPORTS / "self-check", to)
        return
    _compare(setup, accepted, here, out or REPORTS / "gate", to, markdown)


def _interpreter(argument: str, path: Path) -> str:
    """What can be run from any folder; a link stays one, since a virtual environment is known by its link."""
    if not path.is_file():
        raise ArgumentError(argument, str(path), "no such interpreter")
    return str(path.absolute())


def _compare(setup, accepted: Path | None, root: Path, out: Path, to: str | None, markdown: str | None) -> None:
    from datetime import date

    from ..gate import accepted as known
    from ..gate import measure, summary, terminal

    if accepted is None and (root / known.FILE).is_file():
        accepted = root / known.FILE
    entries = known.read(accepted) if accepted is not None else []
    for note in known.notes(entries, date.today()):
        print(f"normsuite: {note}", file=sys.stderr)
    if setup.base.digest == setup.head.digest and not setup.pythons:
        said = f"{setup.head.title} has the same package as {setup.base.title}: nothing to compare"
        if to is not None:
            write_json({"exit_code": summary.NO_REGRESSION, "sentences": [said], "rows": [], "record": None}, to)
        if markdown is not None:
            write(f"### normsuite gate: no regression\n\n{summary.text(said)}\n", markdown)
        if to != "-" and markdown != "-":
            console.print(said, highlight=False, markup=False, soft_wrap=True)
        return
    results.output_folder(out, "out")
    with status() as show:
        outcome = measure.run(setup, lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"))
    for note in outcome.notes:
        print(f"normsuite: {note}", file=sys.stderr)
    found = []
    if outcome.record is not None:
        record = summary.with_accepted(outcome.record, entries, date.today())
        results.write_record(out, measure.name(record), record)
        found = summary.rows(record)
        if to is not None:
            write_json(summary.as_dict(record, found), to)
        if markdown is not None:
            write(summary.markdown(record, found), markdown)
        if to != "-" and markdown != "-":
            console.print(terminal.table(record, found))
            for line in summary.sentences(record, found):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
    if outcome.interrupted:
        print("normsuite: interrupted; what was finished is kept", file=sys.stderr)
        raise typer.Exit(130)
    raise typer.Exit(summary.exit_code(found))


def _self_check(setup, root: Path, tables: int, planted: int, asv_pairs: int, out: Path, to: str | None) -> None:
    from ..gate import rates, selfcheck

    results.output_folder(out, "out")
    with status() as show:
        try:
            records = selfcheck.run(
                setup,
                tables=tables,
                planted_tables=planted,
                asv_pairs=asv_pairs,
                repository=root,
                out=out,
                on_progress=lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"),
                on_table=lambda record: print(rates.line(record), file=sys.stderr),
            )
        except KeyboardInterrupt:
            print("normsuite: interrupted; the tables that were finished are kept", file=sys.stderr)
            raise typer.Exit(130) from None
    if to is not None:
        write_json(rates.as_dict(records), to)
    if to != "-":
        for text in rates.lines(records):
            console.print(text, highlight=False, soft_wrap=True)


def bisect(
    good: Annotated[str, typer.Argument(help="A commit before the step.")],
    bad: Annotated[str, typer.Argument(help="A commit after it.")] = "HEAD",
    only: Only = None,
    budget: Annotated[str, typer.Option(help="Time for each comparison.")] = "60s",
    metric: Annotated[str, typer.Option(help="time, peak bytes, saved bytes, or an error by its name.")] = "time",
    threads: Annotated[Optional[int], typer.Option(help="Of each process; torch's own number.")] = None,
    out: Annotated[Path, typer.Option(help="Where the records go.")] = REPORTS / "gate",
    to: Json = None,
) -> None:
    """Find the commit that made a cell worse, by the gate, in about log2 n comparisons of n commits.

    Exit codes: 0 found, 2 could not run, 3 no step, or nothing that could be decided.
    """
    from ..gate import bisection, cells, measure, trees

    planned = cells.plan(only=only or ())
    results.output_folder(out, "out")
    with status() as show:
        try:
            found = bisection.run(
                good,
                bad,
                repository=trees.root(Path()),
                cells=planned,
                metric=metric,
                budget_s=seconds(budget),
                threads=measure.default_threads() if threads is None else threads,
                out=out,
                on_progress=lambda stage, spent_s: show(f"{spent_s:4.0f} s: {stage}"),
                on_line=lambda text: (
                    console.print(text, highlight=False, markup=False, soft_wrap=True) if to != "-" else None
                ),
            )
        except KeyboardInterrupt:
            print("normsuite: interrupted; what was finished is kept", file=sys.stderr)
            raise typer.Exit(130) from None
    if to is not None:
        write_json(found.as_dict(), to)
    if to != "-":
        console.print(found.sentence, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if found.suspects else 3)
