"""`normsuite check`: whether a norm of yours is right."""

import ast
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Optional

import typer

from .. import vocabulary
from ..conventions import exit_codes
from ..conventions.defaults import CHECK_LIMIT_S
from ..errors import ArgumentError, DataError, NormsuiteError, UnknownNameError
from ..files import writing
from ..measure.cases import parse_shape
from ..targets.arguments import parse
from . import options
from .options import Json, Markdown
from .output import line, note, print_tables, refuse_two_outputs, status, write, write_json

_CHECKS = Path(__file__).parent.parent / "conformance" / "checks"


def check_names() -> list[str]:
    """Return the names of all checks, without a type in brackets: those of the functions that are marked as one.

    They are read from the files, since their modules import torch.
    """
    return [
        node.name
        for path in sorted(_CHECKS.glob("[!_]*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        for mark in node.decorator_list
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "check"
    ]


def _checks(given: list[str] | None) -> list[str] | None:
    """Refuse a name or a pattern that fits no check; which of them are done for every type is known later."""
    known = check_names() if given else []
    each = [*known, *(f"{name}[{dtype}]" for name in known for dtype in vocabulary.DTYPES)]
    for pattern in given or ():
        if pattern not in each and not any(fnmatchcase(name, pattern) for name in each):
            raise UnknownNameError.among("check", pattern, known)
    return given


def _explain(only: list[str], to: str | None) -> None:
    from ..conformance.checks import choose
    from ..presentation.table import Table

    rows = [(found.name, found.sentence) for found in choose(tuple(only))]
    if to is not None:
        write_json(dict(rows), to)
    if to != "-":
        print_tables(Table("", ("check", "what it looks at"), rows))


def check(
    targets: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="TARGET", help="package.module:Name, or a name in [tool.normsuite]; all of those where left out."
        ),
    ] = None,
    args: Annotated[str, options.arguments("Arguments of each: 768 or 4,64 or eps=1e-6.")] = "",
    like: Annotated[Optional[str], options.like("The norm that they are like, such as GroupNorm.")] = None,
    oracle: Annotated[
        Optional[str],
        typer.Option(help="Compare with this instead: module:function of (x, weight, bias) in NumPy float64."),
    ] = None,
    groups: Annotated[
        Optional[int],
        typer.Option(help="Of GroupNorm, where the arguments do not say it.", callback=options.at_least("groups", 1)),
    ] = None,
    activation: Annotated[
        Optional[str], options.choice("activation", vocabulary.ACTIVATIONS, "relu or silu, if they apply it.")
    ] = None,
    shape: Annotated[Optional[list[str]], options.shapes("Of the input: 8,64,14,14.")] = None,
    dtype: Annotated[
        Optional[list[str]], options.choice("dtype", vocabulary.DTYPES, "A type that they take; again for more.")
    ] = None,
    only: Annotated[
        Optional[list[str]],
        typer.Option(help="A check or a pattern such as 'mean_*'; again for more.", callback=_checks),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds that one check may take.", callback=options.positive("timeout"))
    ] = CHECK_LIMIT_S,
    explain: Annotated[bool, typer.Option("--explain", help="List the checks with a sentence on each.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show the checks that are ok, too.")] = False,
    markdown: Markdown = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder for a record a target, such as reports/conformance, which the report shows; not with --only.",
            callback=options.folder,
        ),
    ] = None,
    to: Json = None,
) -> None:
    """Check whether a norm is right: values, gradients, layouts, types, derivatives, programs, state, memory."""
    if explain:
        for name, given in (("markdown", markdown), ("out", out)):
            if given is not None:
                raise ArgumentError(name, str(given), "is for results: leave --explain out")
        _explain(only or [], to)
        return
    refuse_two_outputs(to, markdown)
    if out is not None and only:
        raise ArgumentError("out", str(out), "is for all checks of a target: leave --only out")
    further = {"like": like, "oracle": oracle, "num_groups": groups, "activation": activation}
    chosen = chosen_targets(targets or [], args=args, shapes=shape or [], dtypes=dtype or [], options=further)
    from ..conformance.check import check as run  # behind what was typed, since it imports torch
    from ..conformance.recorded import record

    reports: list = []
    failed: NormsuiteError | None = None
    if out is not None:
        writing.output_folder(out, "out")
    for target in chosen:
        if target.like is None and target.oracle is None and like is None:
            _note_that_nothing_is_known(target)
        try:
            with status() as show:
                on_result = partial(_show_result, show, target.title)
                reports.append(run(target, only=only or (), limit_s=timeout, on_result=on_result))
        except NormsuiteError as error:  # the first is raised again, once what was found of the others is shown
            if failed is not None:
                note(f"{target.title}: {error}")
            failed = failed or error
            continue
        except KeyboardInterrupt:
            _write(reports, len(chosen) > 1, everything, to, markdown)
            raise
        if out is not None:
            record(reports[-1], target, out)
    _write(reports, len(chosen) > 1, everything, to, markdown)
    if failed is not None:
        raise failed
    if not all(report.ok for report in reports):
        raise typer.Exit(exit_codes.REGRESSION)


def _note_that_nothing_is_known(target) -> None:
    """Print a note that a target is compared with itself alone, where its name shows which norm it may be."""
    from ..targets.inspection import is_of_maps, norm_in

    name = (target.path or target.title).rpartition(":")[2]
    spec = norm_in(name)
    if spec is not None and not is_of_maps(name, spec):
        said = f"is compared with its own run in float64 alone: --like {spec.name} compares the formula, too"
        note(f"{target.title} {said}")


def _write(reports: list, several: bool, everything: bool, to: str | None, markdown: str | None) -> None:
    """Show the reports, and write them where they were asked for; as a list where several were wanted."""
    if not reports:
        return
    if markdown is not None:
        write("\n".join(report.markdown() for report in reports), markdown)
    if to is not None:
        write_json([r.as_dict() for r in reports] if several else reports[0].as_dict(), to)
    if "-" not in (to, markdown):
        for report in reports:
            _show(report, everything)


def chosen_targets(names: list[str], *, args: str, shapes: list[str], dtypes: list[str], options: dict) -> list:
    """Return the targets of a command line: import paths, names of the project's, or all of the project's.

    Args:
        names: as typed.
        args: arguments with commas, those with = by name.
        shapes: sizes with commas.
        dtypes: of inputs.
        options: further fields of a target; None where not given.

    Raises:
        ArgumentError: no target, or a name that is neither a path nor known.
    """
    from ..targets import Target
    from ..targets.announced import all_by_name
    from ..targets.configuration import find_project
    from ..targets.loading import search_here

    search_here()
    by_place, by_key = parse(args)
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"args": by_place} if by_place else {}
    given |= {"kwargs": by_key} if by_key else {}
    given |= {"shapes": tuple(parse_shape(text) for text in shapes)} if shapes else {}
    given |= {"dtypes": tuple(dtypes)} if dtypes else {}
    if not names:
        project = find_project(Path.cwd())
        norms = [target for target in (project.targets if project else ()) if target.make is not None]
        if not norms:
            raise ArgumentError(
                "target", None, "name one, such as torch.nn:LayerNorm, or write [[tool.normsuite.target]] with make"
            )
        return [replace(target, **given) for target in norms]
    found, of_project = [], _of_project(needed=not all(":" in name for name in names))
    for name in names:
        # A target of pyproject.toml without a name is called by its import path.
        known = of_project.get(name) or (None if ":" in name else all_by_name(Path.cwd()).get(name))
        if known is not None and ":" in name and args:  # what was written for other arguments
            known = replace(known, args=(), kwargs={}, shapes=(), expected={})
        if known is None and ":" not in name:
            path = "an import path such as torch.nn:LayerNorm, or the name of a target"
            raise UnknownNameError.among("target", name, [path, *all_by_name(Path.cwd())])
        found.append(Target(name, **given) if known is None else replace(known, **given))
    return found


def _of_project(*, needed: bool) -> dict:
    """Return the project's targets by name; raise DataError for a file that cannot be used, where it is needed."""
    from ..targets.configuration import find_project

    try:
        project = find_project(Path.cwd())
    except DataError as error:
        if needed:
            raise
        note(str(error))
        project = None
    return {target.title: target for target in (project.targets if project else ())}


def _show_result(show: Callable[[str], None], title: str, result) -> None:
    show(f"{title}: {result.check}")


def _show(report, everything: bool) -> None:
    from ..conformance.tables import results as results_of

    table = results_of(report, everything=everything)
    if table.rows:
        print_tables(replace(table, title=""))
    for text in (report.sentence(), *report.notes):
        line(text)


COMMANDS = (check,)
