"""`normsuite bench`: time norms beside their rivals."""

from typing import Annotated, Any, Optional

import typer

from .. import vocabulary
from ..conventions.defaults import BENCH_SECONDS
from ..errors import ArgumentError, NormsuiteError
from ..records import kinds
from .options import (
    REPORTS,
    Activations,
    Cases,
    Device,
    Dtypes,
    Implementations,
    Json,
    Modes,
    Norms,
    Out,
    Processes,
    Threads,
    arguments,
    at_least,
    import_paths,
    positive,
    shapes,
)
from .options import budget as time_to_spend
from .options import like as like_option
from .output import interrupted, line, note, print_tables, progress_bar, write_json

Targets = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="TARGET",
        help="A norm of yours as module:Name, beside torch.nn; again for more. All norms of ours where left out.",
    ),
]
Args = Annotated[str, arguments("Arguments of each TARGET: 768 or 4,64 or eps=1e-6.")]
Like = Annotated[Optional[str], like_option("The norm that each TARGET is like.")]
Shapes = Annotated[Optional[list[str]], shapes("A case of your own, such as 16,64,56,56.")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Layout of --shape.")]
Groups = Annotated[
    Optional[int],
    typer.Option(
        help="Groups of GroupNorm for --shape; else the largest power of two up to 32 that divides the channels.",
        callback=at_least("groups", 1),
    ),
]
Budget = Annotated[
    Optional[float], time_to_spend("On an accelerator: time after which no task begins, such as 90s or 8m.")
]
Seconds = Annotated[float, typer.Option(help="For each task in each process.", callback=positive("seconds"))]


def bench(
    targets: Targets = None,
    args: Args = "",
    like: Like = None,
    norm: Norms = None,
    case: Cases = None,
    shape: Shapes = None,
    channels_last: ChannelsLast = False,
    groups: Groups = None,
    backend: Implementations = None,
    mode: Modes = None,
    activation: Activations = None,
    dtype: Dtypes = None,
    device: Device = "cpu",
    budget: Budget = None,
    processes: Processes = None,
    seconds: Seconds = BENCH_SECONDS,
    threads: Threads = None,
    out: Out = REPORTS / kinds.BENCH.folder,
    to: Json = None,
) -> None:
    """Time every backend against torch.nn, a copy and other libraries, in turn, call by call; one record a task."""
    import_paths(targets)
    if not shape and (channels_last or groups is not None):
        raise ArgumentError("shape", None, "--channels-last and --groups describe a --shape")
    if not targets and (args or like):
        raise ArgumentError("args" if args else "like", args or like, "describes a TARGET, and none was given")
    from ..measure import task

    own = [task.shape_case(text, channels_last=channels_last, num_groups=groups) for text in dict.fromkeys(shape or ())]
    if targets:
        from .target_norms import planned, responding

        targets = responding(targets, args=args, like=like, own=own, groups=groups)
        norm, own, backend = planned(
            targets, args=args, like=like, norms=norm, named=case, own=own, backends=backend, groups=groups
        )
        activation = activation or [vocabulary.NO_ACTIVATION]  # a norm may apply one, which --activation says
    tasks = task.plan(
        norms=norm or (), names=case or (), own=own, modes=mode or (), activations=activation or (),
        dtypes=dtype or (), device=device,
    )  # fmt: skip
    if groups is not None and not targets and not any(each.spec.groups == "given" for each in tasks):
        raise ArgumentError("groups", groups, "none of these norms has groups")
    how: dict[str, Any] = {
        "backends": backend or (),
        "processes": processes,
        "seconds": seconds,
        "threads": threads,
        "out": out,
    }
    _measure(tasks, device, to, **how, budget_s=budget)


def _measure(tasks: list, device: str, to: str | None, *, processes: int | None, **how: Any) -> None:
    """Measure the tasks, show how far it is, and then what came out.

    Args:
        processes, how: further arguments of `run`.
    """
    from ..bench import run

    progress = progress_bar("tasks")
    number = processes or run.usual_processes(device != "cpu")
    bar = progress.add_task("bench", total=len(tasks) * (number + (device == "cpu")))

    def show(stage: str, _) -> None:
        progress.start()  # only now: what is wrong with the arguments has been said on a line of its own
        progress.update(bar, advance=1, description=stage)

    try:
        outcome = run.run(tasks, processes=processes, **how, on_task=show)
    finally:
        if progress.live.is_started:
            progress.stop()
    for text in outcome.notes:
        note(text)
    timed = _show(outcome, run.not_measured(device), to)
    if outcome.interrupted:
        raise interrupted() if outcome.records else interrupted("nothing was timed yet")
    own = [name for name in how["backends"] if ":" in name]
    if own and timed.isdisjoint(own):
        raise NormsuiteError(f"{', '.join(own)}: could not be measured in any task")


def _show(outcome, not_measured: list[str], to: str | None) -> set[str]:
    """Show the tables, and return the implementations that have times in them."""
    from ..bench.sentences import sentences
    from ..bench.summary import benches
    from ..bench.tables import brief

    found = benches(outcome.records)
    timed = {row.implementation for bench_of_kind in found for row in bench_of_kind.rows}
    if found and to is not None:
        write_json(_as_json(found, notes=outcome.notes, not_measured=not_measured), to)
    if to == "-":
        return timed
    for bench_of_kind in found:
        print_tables(*brief(bench_of_kind))
        for text in sentences(bench_of_kind):
            line(text)
    for text in not_measured if found else ():
        line(text)
    return timed


def _as_json(found: list, **further: object) -> dict:
    """Return the JSON of one table as it is; of several, with different types of numbers, in a list."""
    if len(found) == 1:
        return {**found[0].as_dict(), **further}
    return {"what": kinds.BENCH.what, "tables": [bench.as_dict() for bench in found], **further}


COMMANDS = (bench,)
