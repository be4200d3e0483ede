"""`normsuite history`: steps in asv's results."""

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..conventions import exit_codes
from ..errors import ArgumentError
from ..machine import lazy_imports
from ..machine.helpers import Helpers
from ..records import kinds
from .options import REPORTS, Json, git_repository, pattern
from .output import DISTRIBUTIONS, line, notes, print_tables, write_json


def history(
    benchmark: Annotated[
        Optional[str],
        typer.Option(
            metavar="PATTERN",
            help="Only series whose benchmark and parameters match; as asv's --bench.",
            callback=pattern("benchmark"),
        ),
    ] = None,
    source: Annotated[Path, typer.Option("--from", help="Folder of asv's results.")] = REPORTS / kinds.ASV.folder,
    regressions_only: Annotated[bool, typer.Option("--regressions-only", help="Leave out everything else.")] = False,
    repository: Annotated[
        Path, typer.Option(help="Whose commits these are, for order and subjects.", callback=git_repository)
    ] = Path("."),
    to: Json = None,
) -> None:
    """Find steps in asv's results over commits, with intervals, and the noise they stand out from.

    Exit codes: 0 no regression in the newest segments, 1 a regression, 2 it could not be read, 3 nothing recorded.
    """
    lazy_imports.load(*DISTRIBUTIONS)
    from .. import history as recorded
    from ..history import summary, tables
    from ..history.commits import Commits
    from ..history.steps import IMPROVEMENT, MACHINE, REGRESSION, UNDECIDED, VERDICTS

    wanted = None if benchmark is None else re.compile(benchmark)
    commits = Commits(repository)
    found = recorded.read(source, commits)
    segments = recorded.segments(found.results)
    chosen = {segment.series for segment in segments if wanted is None or wanted.search(segment.series)}
    if segments and not chosen:
        known = ", ".join(dict.fromkeys(segment.benchmark for segment in segments))
        raise ArgumentError("benchmark", benchmark, f"matches no series; benchmarks are {known}")
    with Helpers(late=DISTRIBUTIONS) as helpers:
        # Of all series, since a step that most of them share is the machine's.
        trends = [of for of in recorded.trends(segments, helpers=helpers) if of.segment.series in chosen]
    said = [*found.notes, *summary.vanished(trends)]
    verdicts = (REGRESSION,) if regressions_only else (REGRESSION, IMPROVEMENT, MACHINE, UNDECIDED)
    if to is not None:
        shown = summary.steps(trends, *((REGRESSION,) if regressions_only else VERDICTS))
        write_json(summary.as_dict(trends, shown, said, commits), to)
    if to != "-":
        notes(said)
        print_tables(*tables.brief(trends, commits, verdicts))
        if trends and not regressions_only:
            print_tables(tables.segments(trends))
        line(_conclusion(trends, source))
    if not trends:
        raise typer.Exit(exit_codes.NOTHING)
    if any(step.counts for trend in trends for step in trend.steps):
        raise typer.Exit(exit_codes.REGRESSION)


def _conclusion(trends: list, source: Path) -> str:
    if not trends:
        return f"no results in {source}: run `asv run --record-samples`"
    series = sum(trend.segment.newest for trend in trends)
    count = sum(step.counts for trend in trends for step in trend.steps)
    return f"{series} series, {count or 'no'} regression{'' if count == 1 else 's'} in their newest segments"


COMMANDS = (history,)
