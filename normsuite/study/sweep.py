"""Many runs: every norm with every seed, in parallel processes of one thread each, one record a run."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import torch

from .. import document, results
from ..errors import ArgumentError, NormsuiteError, UnknownNameError
from . import digits
from .train import NO_NORM, Run, steps, train

WHAT = "study"
"""The kind of the records written here."""


@dataclass(frozen=True)
class Preset:
    """How many seeds and epochs a study has, and which norms unless others are asked for."""

    seeds: int
    epochs: int
    norms: tuple[str, ...]


PRESETS = {
    # The document's norms and the network without: within 5 minutes on 2 cores.
    "quick": Preset(seeds=3, epochs=3, norms=(NO_NORM, *(example.norm for example in document.EXAMPLES))),
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
        norms, seeds, epochs: instead of the preset's; "none" is the network without a norm.
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
    chosen = dict.fromkeys(norms or PRESETS[preset].norms)
    return [Run(norm=norm, seed=seed, epochs=epochs, **settings) for seed in range(seeds) for norm in chosen]


def check_device(device: str) -> str:
    """That device, if torch can use it here.

    Raises:
        ArgumentError: it cannot.
    """
    if device == "cpu":
        return device
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or torch.device(device).type != found.type:
        raise ArgumentError("device", device, f"not available here; available are cpu{f', {found}' if found else ''}")
    return device


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
        DataError: the digits cannot be read.
        OutputError: a record cannot be written.
        NormsuiteError: a worker died; the records of finished runs are kept.
    """
    runs = list(runs)
    if workers is not None and workers < 1:
        raise ArgumentError("workers", workers, "must be at least 1")
    results.output_folder(folder, "out")
    names = {run: _record_name(run) for run in runs}
    finished, todo = {}, []
    for run in runs:
        try:
            finished[run] = results.read_record(folder / f"{names[run]}.json")
        except ArgumentError:
            todo.append(run)
    if todo:
        digits.load(todo[0].dataset, data_dir)  # unpacked once and checked before the workers all want it
    on_start(sum(map(steps, runs)), sum(map(steps, finished)))
    if todo:
        on_accelerator = any(run.device != "cpu" for run in todo)
        workers = min(len(todo), workers or (1 if on_accelerator else results.usable_cores()))
        for run, record in _in_processes(todo, data_dir, workers, on_steps):
            results.write_record(folder, names[run], record)
            finished[run] = record
            on_record(record)
    return [finished[run] for run in runs]


def _record_name(run: Run) -> str:
    identity = {"run": run.as_dict(), "source": results.source_digest(), "environment": _environment(run)}
    return f"{WHAT}-{run.norm}-seed{run.seed}-{results.digest(identity)}"


def _environment(run: Run) -> dict:
    on_device = run.device != "cpu"
    name = torch.get_device_module(run.device).get_device_name() if on_device else None
    return results.environment(threads=1, accelerator=name)


def _in_processes(todo: list[Run], data_dir: Path | None, workers: int, on_steps: Callable[[int], None]):
    """Yield every run with its record as it finishes."""
    context = multiprocessing.get_context("spawn")  # a forked child cannot use torch's threads
    ticks = context.Queue()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (ticks,))
    try:
        waiting: dict[Future, Run] = {pool.submit(_work, run, data_dir): run for run in todo}
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            try:
                while True:
                    on_steps(ticks.get_nowait())
            except Empty:
                pass
            for future in done:
                run = waiting.pop(future)
                yield run, future.result()
    except BrokenProcessPool:
        raise NormsuiteError("a worker process died; finished runs are kept, start again to do the rest") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


_ticks = None


def _start_worker(ticks) -> None:
    global _ticks
    _ticks = ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    torch.set_num_threads(1)


def _work(run: Run, data_dir: Path | None) -> dict:
    global _digits
    key = (run.dataset, data_dir, run.device)
    if _digits is None or _digits[0] != key:
        _digits = key, digits.load(run.dataset, data_dir).to(run.device)
    outcome = train(run, _digits[1], _ticks.put)
    return results.make_record(WHAT, run.as_dict(), outcome.as_dict(), environment=_environment(run), seeds=[run.seed])


_digits: tuple | None = None
