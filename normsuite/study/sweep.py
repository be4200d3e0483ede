"""Many runs: every one in a process of one thread, here or on a cluster, one record a run."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import ArgumentError, OutputError
from ..files import writing
from ..machine import device
from ..records import kinds, provenance, results
from . import digits, workers
from .identity import record_name
from .train import Run, steps

_LOCK = ".sweep.lock"


def sweep(
    runs: Iterable[Run],
    folder: Path,
    *,
    data_dir: Path | None = None,
    processes: int | None = None,
    scheduler: str | None = None,
    on_start: Callable[[int, int], None] = lambda total_steps, done_steps: None,
    on_steps: Callable[[int], None] = lambda steps: None,
    on_record: Callable[[dict], None] = lambda record: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> list[dict]:
    """Train every run that has no record yet, and return the records of all.

    A run is identified by its settings, the sources, the processor and the versions that numbers depend on
    (`provenance.decisive`). A record made under other ones is kept, and the run is trained again. A record is written
    once it is whole, by this process alone, so that a sweep that was killed in any of its processes goes on with what
    was unfinished when it is started again.

    Args:
        runs: what to do.
        folder: where the records are and go; one sweep at a time.
        data_dir: the user's own digits.
        processes: as many as cores, and one on an accelerator, where left out.
        scheduler: address of a Dask scheduler whose workers do the runs instead.
        on_start, on_steps, on_record: told the batches in all and those already done, the batches done since, and
            each new record.
        on_note: told of records set aside and of workers that died.

    Raises:
        ArgumentError: a device that is not there, batches too large for the schedule, or a scheduler that does not
            answer.
        DataError: the digits, or a record that is there, cannot be read.
        OutputError: a record cannot be written, or another sweep is writing to this folder.
        NormsuiteError: a run failed or workers died again and again; the records of finished runs are kept.
    """
    runs = list(runs)
    _check(runs, folder, processes, scheduler)
    # Unpacked once, before the workers all want them.
    checksums = {dataset: digits.checksum(dataset, data_dir) for dataset in dict.fromkeys(r.dataset for r in runs)}
    names = {run: record_name(run, checksums[run.dataset], on_cluster=scheduler is not None) for run in runs}
    with _alone_in(folder), ExitStack() as stack:
        for leftover in folder.glob(f"{kinds.STUDY.what}-*.part"):  # of a sweep that was killed while it wrote
            leftover.unlink(missing_ok=True)
        finished = {run: found for run in runs if (found := _recorded(folder / f"{names[run]}.json", on_note))}
        todo = [run for run in runs if run not in finished]
        task = workers.SweepInputs(checksums, provenance.source_digest(), data_dir)
        if todo and scheduler is not None:
            executor, tell = stack.enter_context(workers.cluster(scheduler, on_note))
            done = workers.on_cluster(executor, todo, task, on_steps, tell)
        else:
            done = workers.locally(todo, task, min(len(todo), processes or usual(todo)), on_steps, on_note)
        on_start(sum(map(steps, runs)), sum(map(steps, finished)))
        with closing(done):  # also where a record cannot be written: no worker goes on behind it
            for run, record in done:
                # As it was stored, so that a sweep says the same of runs that are done and of those that were.
                finished[run] = results.read_record(results.write_record(folder, names[run], record))
                on_record(finished[run])
        records = [finished[run] for run in runs]
        if note := mixed(records):
            on_note(note)
        return records


def _check(runs: Iterable[Run], folder: Path, processes: int | None, scheduler: str | None) -> None:
    """Raise what `sweep` says before anything is trained; make the folder where it is not there."""
    if processes is not None and processes < 1:
        raise ArgumentError("workers", processes, "must be at least 1")
    if processes is not None and scheduler is not None:
        raise ArgumentError("workers", processes, "is of this machine; a cluster has its own")
    for run in runs:
        steps(run)
        if scheduler is None:
            device.check(run.device)
    writing.output_folder(folder, "out")


def usual(runs: Iterable[Run]) -> int:
    """Return the default number of processes: one on an accelerator, else one for each core."""
    return 1 if any(run.device != "cpu" for run in runs) else provenance.usable_cores()


def mixed(records: Iterable[dict]) -> str | None:
    """Return a note on runs that were not all done on one model of processor with the same versions."""
    computed = {_computed_by(record) for record in records}
    if len(computed) < 2:
        return None
    said = "these runs come from machines that compute differently: differences are not due to the norms alone"
    return f"{said} ({'; '.join(sorted(computed))})"


def _computed_by(record: dict) -> str:
    """Return processor, its instructions (which earlier records lack), accelerator and versions of a record."""
    environment = record["environment"]
    versions = (f"{name} {version}" for name, version in provenance.libraries(environment).items())
    machine = environment["cpu"], record.get("depends", {}).get("instructions"), environment.get("accelerator")
    return ", ".join(filter(None, [*machine, *versions]))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock within the block, so that no other sweep writes there.

    The system releases it however this process ends.
    """
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"out = {str(folder)!r}: another study is writing there; wait for it or choose another folder"
        ) from None
    except OSError as error:
        raise OutputError(f"out = {str(folder)!r}: cannot be locked ({error.strerror or error})") from None
    try:
        yield
    finally:
        lock.release()


def _recorded(path: Path, on_note: Callable[[str], None]) -> dict | None:
    """Return the run's record, or None where there is none; a damaged one is set aside.

    Raises:
        DataError: it cannot be read; it may be whole.
    """
    if not path.exists():
        return None
    try:
        return results.read_record(path)
    except ArgumentError as error:
        aside = _free(path.with_suffix(".damaged"))
        try:
            path.replace(aside)
        except OSError as problem:
            raise OutputError(f"cannot set aside {str(path)!r} ({problem.strerror or problem})") from None
        on_note(f"record {path.name} {error.reason}: set aside as {aside.name}, and run again")
        return None


def _free(path: Path) -> Path:
    """Return that name, or the first like it that nothing has: what was set aside before stays."""
    number = 1
    found = path
    while found.exists() or found.is_symlink():
        number += 1
        found = path.with_suffix(f".{number}{path.suffix}")
    return found
