"""Many runs: every norm with every seed, in parallel processes of one thread each, one record a run."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty

import torch

from .. import device, results
from ..errors import ArgumentError, NormsuiteError, UnknownNameError
from ..spec import NO_NORM, NORMS, find
from . import digits
from .train import Run, steps, train

WHAT = "study"
"""The kind of the records written here."""


@dataclass(frozen=True)
class Preset:
    """How many seeds and epochs a study has."""

    seeds: int
    epochs: int


PRESETS = {
    "quick": Preset(seeds=3, epochs=3),  # within 5 minutes on 2 cores
}


def plan(
    preset: str = "quick",
    *,
    norms: Sequence[str] = (),
    seeds: int | None = None,
    epochs: int | None = None,
    **settings,
) -> list[Run]:
    """The runs of a study, seed by seed, so that a study cut short has all norms of the seeds it finished.

    Args:
        preset: one of `PRESETS`.
        norms: names, "none" among them; every norm and "none" where empty.
        seeds, epochs: instead of the preset's.
        settings: further fields of `Run`.

    Raises:
        UnknownNameError: no such preset or norm.
        ArgumentError: a value out of range.
    """
    if preset not in PRESETS:
        raise UnknownNameError.among("preset", preset, PRESETS)
    seeds = PRESETS[preset].seeds if seeds is None else seeds
    epochs = PRESETS[preset].epochs if epochs is None else epochs
    if seeds < 1:
        raise ArgumentError("seeds", seeds, "must be at least 1")
    chosen = dict.fromkeys(norms or (NO_NORM, *NORMS))
    return [Run(norm=norm, seed=seed, epochs=epochs, **settings) for seed in range(seeds) for norm in chosen]


def sweep(
    runs: Iterable[Run],
    folder: Path,
    *,
    data_dir: Path | None = None,
    workers: int | None = None,
    on_start: Callable[[int, int], None] = lambda total_steps, done_steps: None,
    on_steps: Callable[[int], None] = lambda steps: None,
    on_record: Callable[[dict], None] = lambda record: None,
) -> list[dict]:
    """Do every run that has no record yet, and return the records of all.

    A run is identified by its settings, the sources, the processor and torch's version: a record made under any other
    is left alone, and the run is done.

    Args:
        runs: what to do.
        folder: where the records are and go.
        data_dir: the user's own digits.
        workers: processes, of one thread each; as many as cores, and one on an accelerator, where left out.
        on_start, on_steps, on_record: told the batches in all and those already done, the batches done since, and
            each new record.

    Raises:
        ArgumentError: a device that is not there, or batches too large for the schedule.
        DataError: the digits cannot be read.
        OutputError: a record cannot be written.
        NormsuiteError: a run failed or a worker died; the records of finished runs are kept.
    """
    runs = list(runs)
    if workers is not None and workers < 1:
        raise ArgumentError("workers", workers, "must be at least 1")
    results.output_folder(folder, "out")
    for run in runs:
        steps(run)
        device.check(run.device)
    checksum = digits.load(runs[0].dataset, data_dir).checksum  # unpacked once, before the workers all want it
    names = {run: _record_name(run, checksum) for run in runs}
    finished, todo = {}, []
    for run in runs:
        try:
            finished[run] = results.read_record(folder / f"{names[run]}.json")
        except ArgumentError:
            todo.append(run)
    on_start(sum(map(steps, runs)), sum(map(steps, finished)))
    if todo:
        on_accelerator = any(run.device != "cpu" for run in todo)
        workers = min(len(todo), workers or (1 if on_accelerator else results.usable_cores()))
        for run, record in _in_processes(todo, data_dir, workers, on_steps):
            results.write_record(folder, names[run], record)
            finished[run] = record
            on_record(record)
    return [finished[run] for run in runs]


def _depends(run: Run, checksum: str) -> dict:
    """What a run's numbers depend on beside its settings, the sources and the machine."""
    norm = None
    if run.norm != NO_NORM:
        norm = asdict(find(run.norm))
        norm["axes"] = sorted(norm["axes"])
    return {"norm": norm, "data": checksum}


def _record_name(run: Run, checksum: str) -> str:
    identity = {
        "run": run.as_dict(),
        "depends": _depends(run, checksum),
        "source": results.source_digest(),
        "environment": _environment(run),
    }
    return f"{WHAT}-{run.norm}-seed{run.seed}-{results.digest(identity)}"


def _environment(run: Run) -> dict:
    return results.environment(threads=1, accelerator=device.name(run.device))


def _in_processes(todo: list[Run], data_dir: Path | None, workers: int, on_steps: Callable[[int], None]):
    """Yield every run with its record as it finishes."""
    context = multiprocessing.get_context("spawn")  # a forked child cannot use torch's threads
    ticks = context.Queue()
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _start_worker, (ticks,))
    try:
        waiting: dict[Future, Run] = {pool.submit(_work, run, data_dir, workers): run for run in todo}
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            try:
                while True:
                    on_steps(ticks.get_nowait())
            except Empty:
                pass
            for future in done:
                run = waiting.pop(future)
                try:
                    record = future.result()
                except (NormsuiteError, BrokenProcessPool):
                    raise
                except Exception as error:
                    said = " ".join(str(error).split())
                    failed = f"{run.norm}, seed {run.seed}: failed with {type(error).__name__} ({said})"
                    raise NormsuiteError(f"{failed}; finished runs are kept") from error
                yield run, record
    except BrokenProcessPool:
        raise NormsuiteError("a worker process died; finished runs are kept, start again to do the rest") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


_ticks = None


def _start_worker(ticks) -> None:
    global _ticks
    _ticks = ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    torch.set_num_threads(1)


def _work(run: Run, data_dir: Path | None, workers: int) -> dict:
    global _digits
    key = (run.dataset, data_dir, run.device)
    if _digits is None or _digits[0] != key:
        _digits = key, digits.load(run.dataset, data_dir).to(run.device)
    outcome = train(run, _digits[1], _ticks.put)
    return results.make_record(
        WHAT,
        run.as_dict(),
        outcome.as_dict(),
        environment=_environment(run),
        seeds=[run.seed],
        depends=_depends(run, _digits[1].checksum),
        workers=workers,
    )


_digits: tuple | None = None
