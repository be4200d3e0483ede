"""The part that the commands of the gate share: their options, and the versions and cells that they compare."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..conventions.defaults import ERROR_RATE_SEEDS, GATE_BUDGET_S
from ..errors import ArgumentError, NormsuiteError
from . import options
from .options import share
from .output import note


def _margins(given):
    """Check "metric=value", or "value" for the time, before torch is loaded."""
    if not given:
        return given
    from ..measure import metric  # those of other packages, which may load what they like

    for text in given:
        name, value = _margin(text)
        if name not in metric.margins():
            raise ArgumentError("margin", text, f"unknown metric; known are {', '.join(metric.margins())}")
        if not 0 < value < math.inf:
            raise ArgumentError("margin", text, "must be positive")
    return given


def _margin(text: str) -> tuple[str, float]:
    """Return the metric and the share of "metric=value", or of "value", which is of the time."""
    name, _, value = text.rpartition("=")
    return name or "time", share(name or "time", value)


def _shares(argument: str):
    def check(given):
        if given is not None:
            try:
                found = share("", given)
            except ArgumentError as error:
                raise ArgumentError(argument, given, error.reason) from None
            if not 0 < found < math.inf:
                raise ArgumentError(argument, given, "must be positive")
        return given

    return check


Budget = Annotated[
    Optional[float],
    options.budget(f"Time to spend on bytes, errors and times; else the project's, or {GATE_BUDGET_S:g}s."),
]
Margins = Annotated[
    Optional[list[str]],
    typer.Option(
        "--margin",
        help="Change within which a metric counts as the same: 2% (of the time), or bytes=5%; again for more.",
        callback=_margins,
    ),
]
WorseAbove = Annotated[
    Optional[str],
    typer.Option(
        help="A slowdown whose whole interval lies above this is worse; 0.25% where left out, at most the margin.",
        callback=_shares("worse_above"),
    ),
]
Limit = Annotated[
    Optional[str],
    typer.Option(
        help="Exit code 3 unless every cell is shown to be slower by no more than this; 5% where left out.",
        callback=_shares("limit"),
    ),
]


def margins(given: list[str] | None = None, **thresholds: str | None) -> dict[str, float]:
    """Return the usual margins and thresholds, replaced by those that were typed.

    Args:
        given: "metric=value", or "value" for the time.
        thresholds: "worse" and "limit", as shares.
    """
    from ..gate.compare import MARGINS

    typed = {name: share("", text) for name, text in thresholds.items() if text is not None}
    return {**MARGINS, **dict(map(_margin, given or ())), **typed}


def setup_of(
    base: str,
    head: str | None,
    chosen: Mapping[str, Any],
    *,
    budget_s: float | None,
    threads: int | None,
    apart: bool = False,
    pythons: Mapping[str, str] = {},
    margins: dict[str, float] | None = None,
    seeds: int | None = None,
    working_tree: bool = False,
):
    """Return what is to be compared, and the project.

    Args:
        base: a commit.
        head: another one; where it is None, the base again, or with `working_tree` that.
        chosen: as `planned` takes it.
        budget_s: seconds to spend; the project's where left out.
        threads: of each process; torch's own number where left out.
        apart: each version in processes of its own.
        pythons: for each side its interpreter, where it is another one.
        margins: of metrics, with the thresholds of times; the usual ones where left out.
        seeds: of error rates, which are compared where it is given.
        working_tree: may be the head.
    """
    known_commits({"base": base, "head": head})
    from ..gate import compare, guarded, trees
    from ..gate.setup import Setup

    found, source, project = planned(chosen)
    trained = {} if seeds is None else guarded.trained(project, found)
    here = {"repository": project.folder, "source": source}
    before = trees.of_commit(base, argument="base", **here)
    if not working_tree:
        after = before
    elif head is None:
        after = trees.of_working_tree(**here)
    else:
        after = trees.of_commit(head, argument="head", **here)
    setup = Setup(
        base=before,
        head=after,
        cells=found.cells,
        margins=dict(compare.MARGINS) if margins is None else margins,
        budget_s=project.gate.budget_s if budget_s is None else budget_s,
        threads=compare.default_threads() if threads is None else threads,
        apart=apart or is_apart(project),
        pythons=dict(pythons),
        norms=list(trained),
        targets={name: target for name, target in trained.items() if target is not None},
        seeds=ERROR_RATE_SEEDS if seeds is None else seeds,
    )
    return setup, project


def known_commits(named: dict[str, str | None]) -> None:
    """Raise an ArgumentError for a commit that does not exist, by the argument that names it; imports no torch."""
    from ..gate import trees

    repository = _project().folder
    for argument, name in named.items():
        if name is not None:
            trees.commit(name, argument=argument, repository=repository)


def is_apart(project) -> bool:
    """Return whether a project's versions want processes of their own: compiled parts lie in no process twice."""
    return project.isolation == "process" or bool(project.build)


def planned(chosen: Mapping[str, Any]):
    """Return the cells with their targets, the packages whose versions are compared, and the project here.

    Args:
        chosen: the choices of `guarded.plan` by name, as the user typed them; None where nothing was.
    """
    project = _project()
    from ..gate import guarded

    source = guarded.source_of(project)
    found = guarded.plan(project, **{name: of for name, of in chosen.items() if of is not None})
    for text in found.notes:
        note(text)
    return found, source, project


def _project():
    """Return the project here, whose repository is the one that this folder lies in."""
    from ..gate import trees
    from ..targets.configuration import FILE, find_project

    trees.root(Path())  # says where there is no repository
    project = find_project(Path())
    if project is None:
        raise NormsuiteError(f"no {FILE} here or above has [tool.normsuite]: `normsuite init` writes it")
    return project
