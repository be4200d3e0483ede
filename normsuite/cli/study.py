"""`normsuite study`: train the same network with each norm."""

import math
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .. import vocabulary
from ..errors import ArgumentError
from ..records import kinds, results
from .options import (
    BACKENDS,
    PRESETS,
    REPORTS,
    DeviceOrNone,
    Json,
    NormsOrNone,
    among,
    arguments,
    at_least,
    choice,
    names,
    positive,
)
from .options import file as writable
from .options import like as like_option
from .output import interrupted, line, note, print_tables, progress_bar, write_json

Preset = Annotated[
    Optional[str],
    typer.Option(
        help=f"{', '.join(PRESETS)}; quick where left out.",
        callback=among("preset", PRESETS),
        autocompletion=names(PRESETS),
    ),
]
Config = Annotated[
    Optional[Path], typer.Option(help="A TOML file of settings, named as the options with _ for -; options win.")
]
With = Annotated[
    Optional[list[str]],
    typer.Option("--with", metavar="TARGET", help="module:Name, or a target's name, trained beside; again for more."),
]
Args = Annotated[str, arguments("Further arguments of each --with, such as eps=1e-6.")]
Like = Annotated[Optional[str], like_option("The norm that each --with is like, such as GroupNorm.")]
Seeds = Annotated[Optional[int], typer.Option(help="Number of seeds.", callback=at_least("seeds", 1))]
Epochs = Annotated[Optional[int], typer.Option(help="Of each run.", callback=at_least("epochs", 1))]
BatchSizes = Annotated[Optional[list[int]], typer.Option(help="Again for more.", callback=at_least("batch_size", 1))]
LearningRates = Annotated[
    Optional[list[float]],
    typer.Option(help="At the peak of the schedule; again for more.", callback=positive("learning_rate")),
]
Groups = Annotated[
    Optional[list[int]],
    typer.Option(help="Groups of GroupNorm, a divisor of 8; again for more.", callback=at_least("groups", 1)),
]
Affine = Annotated[
    Optional[str],
    choice("affine", vocabulary.AFFINES, "A weight per channel or per element; each norm's own where left out."),
]
L1 = Annotated[
    Optional[float],
    typer.Option(
        help="Weight of the L1 penalty on the weights of convolutions and the linear layer.", callback=at_least("l1", 0)
    ),
]
L2 = Annotated[Optional[float], typer.Option(help="AdamW's weight decay.", callback=at_least("l2", 0))]
Augment = Annotated[Optional[bool], typer.Option(help="Shift and rotate the digits a little.")]
TrainSize = Annotated[
    Optional[int], typer.Option(help="Train on the first so many digits.", callback=at_least("train_size", 1))
]
HoldOut = Annotated[
    Optional[int],
    typer.Option(
        help="Hold out the last so many training digits, and test on them instead.", callback=at_least("hold_out", 0)
    ),
]
Backend = Annotated[
    Optional[str], choice("backend", BACKENDS, "Backend that computes the norms; torch where left out.")
]
Dataset = Annotated[
    Optional[str], choice("dataset", vocabulary.DATASETS, "mnist (included) or fashion-mnist (downloaded once).")
]
DataDir = Annotated[Optional[Path], typer.Option(help="Your own copy, as torchvision lays it out.")]
Workers = Annotated[
    Optional[int], typer.Option(help="Processes of one thread each; one a core.", callback=at_least("workers", 1))
]
Scheduler = Annotated[
    Optional[str], typer.Option(help="A Dask scheduler, such as tcp://host:8786, whose workers do the runs.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say how many runs there are, how long they take and how small a difference they find; train nothing.",
    ),
]
Out = Annotated[Optional[Path], typer.Option(help="Where the records go; reports/study where left out.")]


def study(
    preset: Preset = None,
    config: Config = None,
    norm: NormsOrNone = None,
    beside: With = None,
    args: Args = "",
    like: Like = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    batch_size: BatchSizes = None,
    learning_rate: LearningRates = None,
    groups: Groups = None,
    affine: Affine = None,
    l1: L1 = None,
    l2: L2 = None,
    augment: Augment = None,
    train_size: TrainSize = None,
    hold_out: HoldOut = None,
    backend: Backend = None,
    device: DeviceOrNone = None,
    dataset: Dataset = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    dry_run: DryRun = False,
    out: Out = None,
    to: Json = None,
) -> None:
    """Train the same small network with each norm on MNIST, and store one record a run."""
    if not beside and (args or like):
        raise ArgumentError("args" if args else "like", args or like, "is of a target: say which by --with")
    targets = _targets(beside or [], args=args, like=like)
    from ..study import fork_server, settings_file

    settings = settings_file.read(config) if config is not None else {}
    if not dry_run and scheduler is None:
        fork_server.begin()  # imports torch while this process does
    from ..study import plan

    settings = {_IN_FILES.get(name, name): value for name, value in settings.items()}
    preset = _of_file(settings, "preset", preset, str) or plan.DEFAULT_PRESET
    workers = _of_file(settings, "workers", workers, int)
    scheduler = _of_file(settings, "scheduler", scheduler, str)
    data_dir = _of_file(settings, "data_dir", data_dir, Path)
    out = _of_file(settings, "out", out, Path) or REPORTS / kinds.STUDY.folder
    dry_run = bool(_of_file(settings, "dry_run", dry_run or None, bool))
    to = writable(_of_file(settings, "json", to, str))
    options = {
        "norms": norm, "seeds": seeds, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "num_groups": groups, "affine": affine, "l1": l1, "l2": l2, "augment": augment, "train_size": train_size,
        "hold_out": hold_out, "backend": backend, "device": device, "dataset": dataset,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    runs = plan.plan(preset, targets=targets, **{**settings, **given})
    if not {**settings, **given}.get("norms"):
        _say_left_out(plan.left_out({**settings, **given}.get("backend")))
    if dry_run:
        if scheduler is not None:
            note(f"scheduler = {scheduler!r} is not asked: the estimate is for this machine")
        _dry_run(runs, out, workers, to)
    else:
        _train(runs, out, to, data_dir=data_dir, processes=workers, scheduler=scheduler)


def _say_left_out(norms: list[str]) -> None:
    for name in norms:
        note(f"{name} is left out: torch has no {name}; --backend auto computes it")


def _train(runs: list, out: Path, to: str | None, **how: Any) -> None:
    """Train the runs, show how far they are, and then what came out.

    Args:
        how: further arguments of `sweep`.
    """
    from ..study import summary, sweep, tables

    begun = time.monotonic()
    progress = progress_bar("batches")
    bar = progress.add_task(f"{len(runs)} runs")

    def start(total: int, done: int) -> None:
        progress.update(bar, total=total, completed=done)
        progress.start()  # only now: what is wrong with the arguments has been said on a line of its own

    def show(record: dict) -> None:
        last, digits = record["samples"]["epochs"][-1], summary.tested_on([record])
        line(
            f"{record['case']['norm']:<12} seed {record['case']['seed']}: "
            f"{digits} accuracy {last['test_accuracy']:.2%}, {digits} loss {float(last['test_loss']):.4f}",
            progress.console,
        )

    def advance(steps: int) -> None:
        progress.update(bar, advance=steps)

    try:
        records = sweep.sweep(runs, out, **how, on_start=start, on_steps=advance, on_record=show, on_note=note)
    except KeyboardInterrupt:
        raise interrupted() from None
    finally:
        if progress.live.is_started:
            progress.stop()
    if to is not None:
        write_json(summary.as_dict(records), to)
    if to == "-":
        return

    line(f"{len(records)} runs in {str(out)!r}, {time.monotonic() - begun:.0f} s")
    print_tables(*tables.brief(records))


_IN_FILES = {"norm": "norms", "groups": "num_groups"}
"""Options that a plan knows by other names."""


def _of_file(settings: dict, name: str, option, kind: type):
    """Return the value of an option, or else the file's, converted; the name is removed from the file's settings.

    That is for settings of the command that are none of a run.
    """
    value = settings.pop(name, None)
    if option is not None or value is None:
        return option
    written = str if kind is Path else kind
    if type(value) is not written:
        raise ArgumentError(name, value, f"must be {written.__name__}")
    return kind(value)


def _targets(names: list[str], *, args: str, like: str | None) -> list:
    """Return the targets that are named on the command line."""
    if not names:
        return []
    from .check import chosen_targets

    return chosen_targets(names, args=args, shapes=[], dtypes=[], options={"like": like})


def _dry_run(runs: list, out: Path, workers: int | None, to: str | None) -> None:
    from dataclasses import asdict

    from ..study import estimate
    from ..study.summary import detectable_sentence

    recorded = results.read_records(out, kinds.STUDY.what).good if out.is_dir() else []
    found = estimate.estimate(runs, recorded, workers)
    if to is not None:
        write_json({**asdict(found), "difference": found.difference}, to)
    if to == "-":
        return
    minutes = f"{found.seconds / 60:.0f} min" if found.seconds >= 120 else f"{found.seconds:.0f} s"
    lines = [
        f"{found.runs} runs, about {minutes} on {found.processes} processes of one thread, going by a few steps now",
        detectable_sentence(found.effect),
    ]
    if found.difference is not None and found.deviation is not None and math.isfinite(found.difference):
        lines.append(
            f"in test accuracy, by the records here: {100 * found.difference:.2f} percentage points, with the widest "
            f"of the pairs' deviations, {100 * found.deviation:.2f}"
        )
    for said in lines:
        line(said)


COMMANDS = (study,)
