"""The command `normsuite`. Each command loads what it needs when it runs: those that only read start at once."""

import sys
import time
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from . import __version__, results
from .errors import ArgumentError, NormsuiteError, UnknownNameError, UnsupportedError

app = typer.Typer(
    name="normsuite",
    help="Normalization layers compared: what they average over, what they cost, how they learn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(width=None if sys.stdout.isatty() else 160)  # a pipe or a file has no width to cut tables for
REPORTS = Path("reports")
Json = Annotated[Optional[str], typer.Option("--json", metavar="PATH", help="Write JSON there; - for standard output.")]


def _write_json(value: object, target: str) -> None:
    if target == "-":
        sys.stdout.write(results.to_json(value) + "\n")
    else:
        results.write_text(Path(target), results.to_json(value) + "\n")


def _progress(unit: str):
    """A bar on standard error, not yet started."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def explain(
    norm: Annotated[Optional[str], typer.Argument(help="One norm; all where left out.")] = None,
    to: Json = None,
) -> None:
    """What each norm averages over, and the source document's worked example checked figure by figure."""
    from . import explain as explanation
    from .spec import NORMS, find

    specs = [find(norm)] if norm is not None else list(NORMS.values())
    rows = {spec.name: explanation.explain(spec) for spec in specs}
    if to is not None:
        _write_json([row.as_dict() for of_norm in rows.values() for row in of_norm], to)
        return
    for spec in specs:
        console.print(f"\n[bold]{spec.name}[/bold]  {spec.shared} per letter", highlight=False)
        console.print(explanation.drawing(spec), highlight=False, markup=False, soft_wrap=True)
        table = Table("", "statistic", "printed", "computed", "verdict", "note")
        for row in rows[spec.name]:
            computed = f"{row.computed:.6g}" if isinstance(row.computed, float) else str(row.computed)
            style = {explanation.WRONG: "red", explanation.TRUNCATED: "yellow"}.get(row.verdict, "")
            index = "" if row.index is None else explanation.letter(row.index)
            table.add_row(index, row.statistic, row.printed or "–", computed, row.verdict, row.note, style=style)
        console.print(table)


@app.command()
def study(
    preset: Annotated[str, typer.Option(help="How many seeds and epochs: quick.")] = "quick",
    norm: Annotated[
        Optional[list[str]], typer.Option(help="A norm, or none; again for more. The preset's where left out.")
    ] = None,
    seeds: Annotated[Optional[int], typer.Option(help="Seeds, instead of the preset's.")] = None,
    epochs: Annotated[Optional[int], typer.Option(help="Epochs, instead of the preset's.")] = None,
    batch_size: Annotated[int, typer.Option()] = 128,
    learning_rate: Annotated[float, typer.Option(help="At the peak of the schedule.")] = 0.02,
    groups: Annotated[int, typer.Option(help="Of GroupNorm; divides 8.")] = 4,
    backend: Annotated[str, typer.Option(help="What computes the norms.")] = "torch",
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda.")] = "cpu",
    dataset: Annotated[str, typer.Option(help="mnist (included) or fashion-mnist (downloaded once).")] = "mnist",
    data_dir: Annotated[Optional[Path], typer.Option(help="Your own copy, as torchvision lays it out.")] = None,
    workers: Annotated[Optional[int], typer.Option(help="Processes of one thread each; one a core.")] = None,
    out: Annotated[Path, typer.Option(help="Where the records go.")] = REPORTS / "study",
    to: Json = None,
) -> None:
    """Train the same small network with each norm on MNIST, and store one record a run."""
    from . import claims
    from .study import sweep

    runs = sweep.plan(
        preset,
        norms=norm or (),
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        num_groups=groups,
        backend=backend,
        device=device,
        dataset=dataset,
    )
    begun = time.monotonic()
    progress = _progress("batches")
    bar = progress.add_task(f"{len(runs)} runs")

    def start(total: int, done: int) -> None:
        progress.update(bar, total=total, completed=done)
        progress.start()  # only now: what is wrong with the arguments has been said on a line of its own

    def show(record: dict) -> None:
        last = record["samples"]["epochs"][-1]
        progress.console.print(
            f"{record['case']['norm']:<12} seed {record['case']['seed']}: "
            f"test accuracy {last['test_accuracy']:.2%}, test loss {float(last['test_loss']):.4f}",
            highlight=False,
        )

    try:
        records = sweep.sweep(
            runs,
            out,
            data_dir=data_dir,
            workers=workers,
            on_start=start,
            on_steps=lambda done: progress.update(bar, advance=done),
            on_record=show,
        )
    except KeyboardInterrupt:
        print("normsuite: interrupted; what was finished is kept", file=sys.stderr)
        raise typer.Exit(130) from None
    finally:
        if progress.live.is_started:
            progress.stop()
    judged = claims.judge(records)
    if to is not None:
        _write_json([_claim_dict(j) for j in judged], to)
        return
    console.print(f"{len(records)} runs in {str(out)!r}, {time.monotonic() - begun:.0f} s", highlight=False)
    table = Table("claim of the document", "verdict", title="What these runs say")
    for j in judged:
        table.add_row(j.claim.text, j.verdict)
    console.print(table)


def _claim_dict(judged) -> dict:
    return {
        "claim": judged.claim.key,
        "text": judged.claim.text,
        "verdict": judged.verdict,
        "missing": judged.claim.missing,
        "relations": [
            {
                "metric": f.relation.metric,
                "left": f.relation.left,
                "expected": f.relation.expected,
                "right": f.relation.right,
                "seeds": f.seeds,
                "difference": f.comparison and f.comparison.difference.value,
                "low": f.comparison and f.comparison.difference.low,
                "high": f.comparison and f.comparison.difference.high,
                "confidence": f.comparison and f.comparison.confidence,
                "margin": f.comparison and f.comparison.margin,
                "verdict": f.verdict,
            }
            for f in judged.findings
        ],
    }


@app.command()
def bench(
    what: Annotated[
        Optional[str], typer.Argument(help="Left out: norms by themselves. study: a training step of the study.")
    ] = None,
    norm: Annotated[Optional[list[str]], typer.Option(help="A norm; again for more. All where left out.")] = None,
    case: Annotated[Optional[list[str]], typer.Option(help="A case by name; again for more.")] = None,
    shape: Annotated[Optional[list[str]], typer.Option(help="A case of your own, such as 16,64,56,56.")] = None,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Layout of --shape.")] = False,
    groups: Annotated[Optional[int], typer.Option(help="Of GroupNorm, for --shape.")] = None,
    backend: Annotated[
        Optional[list[str]], typer.Option(help="Who takes part beside torch.nn and a copy: ours and rivals.")
    ] = None,
    mode: Annotated[Optional[list[str]], typer.Option(help="forward, step or evaluation.")] = None,
    activation: Annotated[Optional[list[str]], typer.Option(help="none, relu or silu.")] = None,
    dtype: Annotated[Optional[list[str]], typer.Option(help="float32, bfloat16, float16 or float64.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda.")] = "cpu",
    cold: Annotated[bool, typer.Option("--cold", help="Flush an accelerator's caches before each sample.")] = False,
    processes: Annotated[int, typer.Option(help="Fresh processes that take times.")] = 5,
    seconds: Annotated[float, typer.Option(help="For each task in each process.")] = 0.25,
    threads: Annotated[Optional[int], typer.Option(help="Of each process; torch's own number.")] = None,
    out: Annotated[Path, typer.Option(help="Where the records go.")] = REPORTS / "bench",
    to: Json = None,
) -> None:
    """Time every backend against torch.nn, a copy and other libraries, in turn, call by call; one record a task."""
    from .bench import run, task
    from .bench.summary import Bench, sentences

    if what is not None:
        if what != "study":
            raise UnknownNameError.among("bench", what, ["study"])
        _bench_study(norm or (), processes, threads, out, to)
        return
    own = [task.shape_case(text, channels_last=channels_last, num_groups=groups) for text in dict.fromkeys(shape or ())]
    if not own and (channels_last or groups is not None):
        raise ArgumentError("shape", None, "--channels-last and --groups describe a --shape")
    tasks = task.plan(
        norms=norm or (),
        names=case or (),
        own=own,
        modes=mode or (),
        activations=activation or (),
        dtypes=dtype or (),
        device=device,
    )
    progress = _progress("tasks")
    bar = progress.add_task("bench", total=len(tasks) * (processes + 1))

    def show(stage: str, _) -> None:
        progress.start()  # only now: what is wrong with the arguments has been said on a line of its own
        progress.update(bar, advance=1, description=stage)

    try:
        outcome = run.run(
            tasks,
            backends=backend or (),
            processes=processes,
            seconds=seconds,
            threads=threads,
            cold=cold,
            out=out,
            on_task=show,
        )
    finally:
        if progress.live.is_started:
            progress.stop()
    for note in outcome.notes:
        print(f"normsuite: {note}", file=sys.stderr)
    found = Bench(outcome.records)
    if outcome.records and to is not None:
        _write_json({**found.as_dict(), "notes": outcome.notes, "not_measured": run.not_measured(device)}, to)
    elif outcome.records:
        from .bench import terminal

        for table in terminal.tables(found):
            console.print(table)
        for line in [*sentences(found), *run.not_measured(device)]:
            console.print(line, highlight=False, soft_wrap=True)
    if outcome.interrupted:
        print("normsuite: interrupted; what was finished is kept", file=sys.stderr)
        raise typer.Exit(130)


def _bench_study(norms, processes: int, threads: int | None, out: Path, to: str | None) -> None:
    import torch

    from .bench import epoch
    from .statistics import Interval

    record = epoch.run(norms, processes=processes, threads=threads or torch.get_num_threads())
    results.write_record(out, epoch.WHAT, record)
    found = epoch.ratios(record)
    if to is not None:
        shown = {norm: {name: [r.value, r.low, r.high] for name, r in of.items()} for norm, of in found.items()}
        _write_json({"ratios": shown, "record": record}, to)
        return
    names = list(found["all"])
    table = Table("norm", *names, title="A training step of the study: time over that with torch's calls [95 %]")

    def text(ratio: Interval) -> str:
        return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"

    for norm, of in found.items():
        table.add_row(norm, *(text(of[name]) for name in names))
    console.print(table)


@app.command()
def numerics(
    norm: Annotated[Optional[list[str]], typer.Option(help="A norm; again for more. All where left out.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda.")] = "cpu",
    to: Json = None,
) -> None:
    """Largest error of each norm and backend against float64, for inputs further and further from zero."""
    from . import backends
    from . import device as devices
    from .bench import numerics as measuring
    from .bench.cases import SEED
    from .spec import NORMS, find

    devices.check(device)

    computing = [name for name in backends.NAMES if name != "auto"]  # which is one of the others
    specs = [find(name) for name in norm] if norm else list(NORMS.values())
    rows = []
    for spec in specs:
        for mean in measuring.MEANS:
            for backend in computing:
                try:
                    output, gradient = measuring.errors(
                        spec, measuring.SHAPE, backend=backend, device=device, mean=mean
                    )
                except UnsupportedError as error:
                    output = gradient = error.reason
                rows.append(
                    {"norm": spec.name, "mean": mean, "backend": backend, "output": output, "gradient": gradient}
                )
    if to is not None:
        import torch

        measured = results.environment(threads=torch.get_num_threads(), accelerator=devices.name(device))
        case = {"shape": measuring.SHAPE.shape, "dtype": "float32", "device": device}
        _write_json(results.make_record("numerics", case, rows, environment=measured, seeds=[SEED]), to)
        return
    table = Table(
        "norm",
        "input mean",
        *(f"{what}, {backend}" for what in ("output", "gradient") for backend in computing),
        title=f"float32, {measuring.SHAPE.name}, deviation 1: largest error relative to the root mean square",
    )
    for spec in specs:
        for mean in measuring.MEANS:
            here = [row for row in rows if (row["norm"], row["mean"]) == (spec.name, mean)]
            cells = [row[what] for what in ("output", "gradient") for row in here]
            shown = [f"{cell:.1e}" if isinstance(cell, float) else cell for cell in cells]
            table.add_row(spec.name, f"{mean:g}", *shown)
    console.print(table)


@app.command()
def report(
    source: Annotated[Path, typer.Option("--from", help="Folder of the study's records and asv's results.")] = REPORTS,
    out: Annotated[Path, typer.Option(help="Folder for index.html.")] = REPORTS / "html",
    commit: Annotated[Optional[str], typer.Option(help="Whose cost to show; the one measured last.")] = None,
) -> None:
    """Write the HTML report from what has been recorded."""
    from . import report as reporting

    page, notes = reporting.write(source, out, commit=commit)
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {note}", highlight=False, soft_wrap=True)
    console.print(f"wrote {page}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command; an expected error is one line on standard error and exit code 2."""
    try:
        app()
    except NormsuiteError as error:
        print(f"normsuite: {error}", file=sys.stderr)
        sys.exit(2)
