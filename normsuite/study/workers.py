"""Run training in processes of this machine, or on the workers of a Dask cluster.

Both are executors of concurrent.futures, and do the same to each run.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty

import torch

from ..errors import ArgumentError, DataError, NormsuiteError, UnsupportedError, message_of, one_line
from ..records import kinds, provenance, results
from . import digits, fork_server
from .identity import THREADS, depends, environment
from .train import Run, TrainedRun, steps, train

ANSWER_S = 10
"""Seconds that a scheduler has to answer."""

LOOK_S = 5
"""Seconds between two looks at whether a cluster has workers."""

DEATHS = 3
"""Workers that die in a row, without a finished run between them, before the study gives up."""

CLUSTER = "pip install 'normsuite[cluster]'"


@dataclass(frozen=True)
class SweepInputs:
    """The inputs that all runs of a sweep have in common.

    Attributes:
        checksums: of the digits that every worker must have, by dataset.
        source: digest of the sources that every worker must have.
        data_dir: the user's own digits.
    """

    checksums: dict[str, str]
    source: str
    data_dir: Path | None


_alone = threading.Lock()  # seeds are the process's: where a cluster's worker has several threads, one run at a time
_digits: tuple | None = None
_ticks = None


def do(run: Run, task: SweepInputs) -> dict:
    """Train one run on one thread, and return its record.

    Raises:
        DataError: other digits than the sweep's.
        NormsuiteError: other sources than the sweep's.
    """
    global _digits
    with _alone:
        if provenance.source_digest() != task.source:
            raise NormsuiteError("a worker has another version of normsuite than the one that planned the study")
        torch.set_num_threads(THREADS)
        expected = task.checksums[run.dataset]
        key = (run.dataset, task.data_dir, run.device, expected)
        if _digits is None or _digits[0] != key:
            _digits = key, digits.load(run.dataset, task.data_dir).to(run.device)
        found = _digits[1]
        if found.checksum != expected:
            raise DataError(f"a worker has other digits: expected checksum {expected}, found {found.checksum}")
        with redirect_stdout(sys.stderr):  # what a target prints is no result
            outcome = _trained(run, found)
        return results.make_record(
            kinds.STUDY.what,
            run.as_dict(),
            outcome.as_dict(),
            environment=environment(run),
            seeds=[run.seed],
            depends=depends(run, found.checksum),
        )


def _trained(run: Run, of: digits.Digits) -> TrainedRun:
    """Return the outcome of a run; what a user's norm raises goes to the parent as an error of ours.

    SystemExit would end the study there, and an exception that cannot be unpickled would look like a dead worker.
    """
    try:
        return train(run, of, _ticks.put if _ticks is not None else lambda batches: None)
    except (NormsuiteError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise _failure(run, error) from None


def _failure(run: Run, error: BaseException) -> NormsuiteError:
    return NormsuiteError(f"{run.norm}, seed {run.seed}: failed: {one_line(error)}; finished runs are kept")


def finish(
    executor: Executor, todo: list[Run], task: SweepInputs, while_waiting: Callable[[], None] = lambda: None
) -> Iterator[tuple[Run, dict]]:
    """Yield every run with its record as it finishes.

    Raises:
        NormsuiteError: a run failed.
    """
    waiting: dict[Future, Run] = {executor.submit(do, run, task): run for run in todo}
    try:
        while waiting:
            done, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            while_waiting()
            for future in sorted(done, key=_failed):  # what was finished at the same time as a failure is kept
                run = waiting.pop(future)
                try:
                    record = future.result()
                except (NormsuiteError, BrokenProcessPool):
                    raise
                except CancelledError:
                    raise NormsuiteError("the scheduler is gone; finished runs are kept") from None
                except Exception as error:
                    raise _failure(run, error) from error
                yield run, record
    finally:
        for future in waiting:
            future.cancel()


def _failed(future: Future) -> bool:
    return future.cancelled() or future.exception() is not None


# ---- processes of this machine ----


def locally(
    todo: list[Run], task: SweepInputs, processes: int, on_steps: Callable[[int], None], on_note: Callable[[str], None]
) -> Generator[tuple[Run, dict], None, None]:
    """Train the runs in that many processes, and yield each with its record.

    Where a process dies, unfinished runs restart.
    """
    todo, deaths = list(todo), 0
    while todo:
        try:
            with pool(processes, on_steps) as (executor, tell):
                for run, record in finish(executor, list(todo), task, tell):
                    todo.remove(run)
                    deaths = 0
                    yield run, {**record, "workers": processes}
            return
        except BrokenProcessPool:
            deaths += 1
            if deaths == DEATHS:
                raise NormsuiteError(
                    f"workers died {DEATHS} times in a row; finished runs are kept, start again to do the rest"
                ) from None
            on_note("a worker process ended; all unfinished runs are restarted")


@contextmanager
def pool(processes: int, on_steps: Callable[[int], None]):
    """Return an executor, and a function that hands on how many batches its workers have done since."""
    context = fork_server.context()
    ticks = context.Queue()
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(processes, context, _start, (ticks,))

    def tell() -> None:
        try:
            while True:
                on_steps(ticks.get_nowait())
        except Empty:
            pass

    try:
        yield executor, tell
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()


def _start(ticks) -> None:
    global _ticks
    _ticks = ticks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the workers
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the parent, also where it was killed and could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# ---- a cluster ----


@contextmanager
def cluster(address: str, on_note: Callable[[str], None]) -> Iterator[tuple[Executor, Callable[[], None]]]:
    """Return the workers of a Dask scheduler, and a function that says it where none is left.

    A run whose worker was lost is given to another one, as soon as there is one, as often as the scheduler's
    `allowed-failures` has it. A run that fails is not tried again.

    Raises:
        UnsupportedError: dask.distributed is not installed.
        ArgumentError: nothing answers there within 10 s, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UnsupportedError("scheduler", address, f"dask.distributed is not installed: {CLUSTER}") from None
    client = _connected(Client, address)
    try:
        try:
            client.wait_for_workers(1, timeout=ANSWER_S)
        except TimeoutError:
            raise ArgumentError("scheduler", address, f"has no workers after {ANSWER_S} s") from None
        yield client.get_executor(pure=False), _Look(client, on_note)
    finally:
        with suppress(TimeoutError):  # of a scheduler that does not answer
            client.close(timeout=ANSWER_S)


def _connected(client: type, address: str):
    """Return a client of that scheduler; one that takes the connection and then says nothing is not waited for.

    Raises:
        ArgumentError: it does not answer in time.
    """
    found: list = []

    def connect() -> None:
        try:
            found.append(client(address, timeout=ANSWER_S, set_as_default=False))
        except Exception as error:  # at the library's boundary: what a wrong address makes of it is said below
            found.append(error)

    thread = threading.Thread(target=connect, daemon=True)  # its own timeout does not cover all that it waits for
    thread.start()
    thread.join(ANSWER_S + 2)
    if found and not isinstance(found[0], Exception):
        return found[0]
    said = message_of(found[0]) if found else "connected, but without a reply"
    raise ArgumentError("scheduler", address, f"does not answer within {ANSWER_S} s ({said})")


class _Look:
    """Says when a cluster has lost its last worker, and when it has one again; a silent scheduler is not waited for.

    Raises:
        NormsuiteError: when called, that the scheduler does not answer.
    """

    def __init__(self, client, on_note: Callable[[str], None]):
        self._client, self._on_note = client, on_note
        self._next, self._alone = time.monotonic(), False

    def __call__(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_S
        if self._client.status != "running":  # it is connecting again, or what waits is told that the scheduler is gone
            return
        try:
            found = self._client.sync(self._client.scheduler.ncores, callback_timeout=ANSWER_S)
        except TimeoutError:
            raise NormsuiteError(f"the scheduler has not answered for {ANSWER_S} s; finished runs are kept") from None
        alone = not found
        if alone != self._alone:
            self._alone = alone
            said = "has no workers left; waiting for one" if alone else "has workers again"
            self._on_note(f"the cluster {said}")


def on_cluster(
    executor: Executor,
    todo: list[Run],
    task: SweepInputs,
    on_steps: Callable[[int], None],
    while_waiting: Callable[[], None] = lambda: None,
) -> Generator[tuple[Run, dict], None, None]:
    """Train the runs on the workers of a cluster, and yield each with its record.

    Progress is counted by finished runs.
    """
    for run, record in finish(executor, todo, task, while_waiting):
        on_steps(steps(run))
        yield run, record
