"""`normsuite.compare`: callables timed in turn, in this process or in fresh ones."""

import random
import time
from collections.abc import Callable, Mapping

from ..errors import ArgumentError, NormsuiteError
from ..measure import process
from ..targets.loading import check_path, import_folders, load, path_of, said, search_here
from .result import MARGIN, Result

SECONDS = 5.0


def compare(
    calls: Mapping[str, Callable[[], object] | str],
    *,
    seconds: float = SECONDS,
    processes: int = 0,
    device: str = "cpu",
    margin: float = MARGIN,
    setup: str | None = None,
    seed: int | None = None,
) -> Result:
    """Time two or more callables in turn and say which takes less, beside the first of them.

    Args:
        calls: callables without arguments by name; also import paths "module:function", or with `setup` statements.
        seconds: how long all of it takes, without calibration and the start of processes.
        processes: fresh ones, which differ by where code and tensors lie; 0 for this one. Wants paths or statements.
        device: "cpu", or the accelerator whose clock counts.
        margin: how far from 1 a ratio may lie and still count as the same.
        setup: Python that is run once; then every call is a statement in its names, as of timeit.
        seed: of the orders; drawn where left out.

    Returns:
        The result: it prints as a sentence, and has samples, `to_frame()`, `plot()` and `to_json()`.

    Raises:
        ArgumentError: fewer than two, or one that cannot be called; a number out of range.
        ImportPathError: a path that leads nowhere.
        NormsuiteError: a call fails; the message has its name and its error.

    >>> normsuite.compare({"torch": lambda: x + 1, "mine": lambda: torch.add(x, 1)}, seconds=2)
    """
    calls = _checked(calls, setup)
    if not 0 < seconds <= 3600:
        raise ArgumentError("seconds", seconds, "must be a positive number, at most 3600")
    if type(processes) is not int or not 0 <= processes <= 1000 or processes == 1:
        raise ArgumentError("processes", processes, "must be 0 for this one, or 2 and more, since one has no spread")
    if not 0 < margin < 1:
        raise ArgumentError("margin", margin, "must lie between 0 and 1")
    seed = random.randrange(2**32) if seed is None else seed
    job = {"seconds": seconds, "device": device, "setup": setup, "seed": seed, "calls": dict(calls)}
    if not processes:
        return Result((measured(job),), device, margin, _environment(device))
    return Result(tuple(_in_processes(job, processes)), device, margin, _environment(device))


def measured(job: Mapping) -> dict[str, list[float]]:
    """Time a job's calls in this process; raises as `compare`."""
    from ..measure import clock
    from . import rounds

    clock.open_device(job["device"])
    calls = _callables(job["calls"], job["setup"])
    for name, call in calls.items():
        try:
            call()
        except Exception as error:  # anybody's
            raise NormsuiteError(f"{name} fails: {said(error)}") from error
    with clock.timers({name: [call] for name, call in calls.items()}, device=job["device"]) as timers:
        return rounds.timed(timers, seconds=job["seconds"], draw=random.Random(job["seed"]))


def _checked(calls: object, setup: str | None) -> dict[str, object]:
    if not isinstance(calls, Mapping) or len(calls) < 2 or not all(isinstance(name, str) for name in calls):
        raise ArgumentError("calls", calls, "must be a table of two or more callables by name")
    for name, call in calls.items():
        if isinstance(call, str):
            if setup is None:
                check_path(f"calls[{name!r}]", call)
            else:
                _code(f"calls[{name!r}]", call)
        elif not callable(call) or setup is not None:
            raise ArgumentError(f"calls[{name!r}]", call, "must be callable, or with setup a statement")
    if setup is not None:
        _code("setup", setup)
    return dict(calls)


def _code(argument: str, text: str):
    try:
        return compile(text, f"<{argument}>", "exec")
    except (SyntaxError, ValueError) as error:
        raise ArgumentError(argument, text, f"is no Python: {error}") from None


def _callables(calls: Mapping[str, object], setup: str | None) -> dict[str, Callable[[], object]]:
    if setup is None:
        search_here()
        return {name: load(f"calls[{name!r}]", c) if isinstance(c, str) else c for name, c in calls.items()}
    names: dict[str, object] = {}
    try:
        exec(_code("setup", setup), names)
    except Exception as error:  # anybody's
        raise NormsuiteError(f"setup fails: {said(error)}") from error
    made = {}
    for name, statement in calls.items():
        # In a function, so that names are looked up as in a program; setup's are its globals.
        lines = "\n".join(f"    {line}" for line in statement.splitlines()) or "    pass"
        defined: dict[str, Callable[[], object]] = {}  # apart from the setup's names, one of which may be "call" too
        exec(_code(f"calls[{name!r}]", f"def call():\n{lines}\n"), names, defined)
        made[name] = defined["call"]
    return made


def _in_processes(job: Mapping, count: int) -> list[dict[str, list[float]]]:
    import torch

    calls = dict(job["calls"])
    if job["setup"] is None:
        for name, call in calls.items():
            path = call if isinstance(call, str) else path_of(call)
            if path is None:
                raise ArgumentError(f"calls[{name!r}]", call, "has no import path that another process could use")
            calls[name] = path
    found, env = [], process.environment(torch.get_num_threads())
    for number in range(count):
        part = {
            **job,
            "calls": calls,
            "seconds": job["seconds"] / count,
            "seed": job["seed"] + number,
            "folders": import_folders(),
            "threads": torch.get_num_threads(),
        }
        try:
            (message,) = process.messages(["-m", "normsuite.versus.worker"], part, env)
        except process.Died as died:
            raise NormsuiteError(f"process {number + 1} ended: {died}") from None
        if "error" in message:
            raise NormsuiteError(message["error"])
        found.append(message["times"])
    return found


def _environment(device: str) -> dict:
    import torch

    from .. import device as devices
    from .. import results

    found = results.environment(threads=torch.get_num_threads(), accelerator=devices.name(device))
    return {**found, "written": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
