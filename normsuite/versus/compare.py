"""`normsuite.compare`: callables timed in turn, in this process or in fresh ones."""

import ast
import contextlib
import io
import random
import time
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

from ..conventions.defaults import COMPARE_SECONDS, SAME_WITHIN
from ..conventions.raised import raised_as
from ..errors import ArgumentError, NormsuiteError, one_line
from ..measure import listening, process
from ..targets.loading import check_path, import_folders, load, path_of, search_here
from .result import Result

SETUP_LIMIT_S = 600.0
"""How long a process may take to import torch and run the setup."""
LIMIT_S = 60.0
"""How long a first call may take in a process of its own."""
TIMING_LIMIT_S = 2 * 3600.0
"""How long its timing may take: slow calls exceed the seconds that were asked for."""


def compare(
    calls: Mapping[str, Callable[[], object] | str],
    *,
    seconds: float = COMPARE_SECONDS,
    processes: int = 0,
    device: str = "cpu",
    host_time: bool = False,
    margin: float = SAME_WITHIN,
    setup: str | None = None,
    seed: int | None = None,
) -> Result:
    """Time two or more callables in turn and say which takes less, beside the first of them.

    Args:
        calls: callables without arguments by name; also import paths "module:function", or with `setup` statements.
        seconds: how long all of it takes, without calibration and the start of processes.
        processes: fresh ones, which differ by where code and tensors lie; 0 for this one, or with `setup` for a single
            fresh one, which statements may end. More want paths or statements.
        device: "cpu", or the accelerator whose clock counts.
        host_time: on an accelerator, compare for how long a call occupies the host, instead of the device's time.
        margin: how far from 1 a ratio may lie and still count as the same.
        setup: Python that is run once; then every call is a statement, which reads its names and binds its own.
        seed: of the orders; drawn where left out.

    Returns:
        The result: it prints as a sentence, and has samples, `to_frame()`, `plot()` and `to_json()`.

    Raises:
        ArgumentError: fewer than two, or one that cannot be called; a number out of range.
        ImportPathError: a path that leads nowhere.
        NormsuiteError: the first call fails, or all others do; the message has its name and its error. Others that
            fail are named in the result.

    >>> normsuite.compare({"torch": lambda: x + 1, "mine": lambda: torch.add(x, 1)}, seconds=2)
    """
    calls = _checked(calls, setup)
    if not 0 < seconds <= 3600:
        raise ArgumentError("seconds", seconds, "must be a positive number, at most 3600")
    if type(processes) is not int or not 0 <= processes <= 1000 or processes == 1:
        raise ArgumentError("processes", processes, "must be 0 for this one, or 2 to 1000, since one has no spread")
    if not 0 < margin < 1:
        raise ArgumentError("margin", margin, "must lie between 0 and 1")
    if host_time and device == "cpu":
        raise ArgumentError("host_time", host_time, "needs an accelerator; on the processor every time is the host's")
    from ..machine import device as devices

    devices.check(device)
    seed = random.randrange(2**32) if seed is None else seed
    job = {"seconds": seconds, "device": device, "host_time": host_time, "setup": setup, "seed": seed}
    job["calls"] = dict(calls)
    failed: dict[str, str] = {}
    count = processes or (setup is not None and 1)  # statements may end a process
    samples = _in_processes(job, count, failed) if count else [measured(job, failed)]
    return Result(tuple(samples), device, margin, _environment(device), failed, tuple(calls), host_time)


def measured(
    job: Mapping[str, Any], failed: dict[str, str], on_first: Callable[[str | None], None] = lambda name: None
) -> dict[str, list[float]]:
    """Time a job's calls in this process; raise as `compare` does.

    Args:
        job: what and for how long.
        failed: gets the reason of each call that cannot be timed.
        on_first: told the name of each before its first call, and None before they are timed.
    """
    from ..measure import clock
    from . import rounds

    clock.open_device(job["device"])
    calls, able = _callables(job["calls"], job["setup"]), {}
    for name, call in calls.items():
        on_first(name)
        reason = _why_not(call)
        if reason is None:
            able[name] = call
        else:
            failed[name] = reason
    _refuse_too_few(job["calls"], failed)
    on_first(None)
    each = {name: [call] for name, call in able.items()}
    with clock.timers(each, device=job["device"], host_time=job["host_time"]) as timers:
        return rounds.timed(timers, seconds=job["seconds"], draw=random.Random(job["seed"]))


def _why_not(call: Callable[[], object]) -> str | None:
    """Return the reason why a call cannot be timed, or None, after a first call of it."""
    from ..measure.process_state import unchanged, why_not_silent

    try:
        with unchanged() as changed, contextlib.redirect_stdout(io.StringIO()) as printed:
            call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of a user's code
        return f"fails: {one_line(error)}"
    return why_not_silent(printed) or (f"changes {changed[0]}" if changed else None)


def _refuse_too_few(calls: Mapping[str, object], failed: Mapping[str, str]) -> None:
    """Raise a NormsuiteError where the first fails, or nothing is left to compare with it."""
    baseline, *others = calls
    if baseline in failed or all(name in failed for name in others):
        raise NormsuiteError("; ".join(f"{name} {reason}" for name, reason in failed.items()))


def _checked(calls: object, setup: str | None) -> dict[str, Any]:
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


def _code(argument: str, text: str, *, as_function: bool = False) -> CodeType:
    """Return the code of a text, or, where asked for, of a function `call` that has it for its body."""
    try:
        program = ast.parse(text, f"<{argument}>")
        if as_function:  # as a tree: to indent the text would change strings of several lines
            whole = ast.parse("def call(): pass")
            (function,) = (node for node in whole.body if isinstance(node, ast.FunctionDef))
            function.body = program.body or function.body
            program = ast.fix_missing_locations(whole)
        return compile(program, f"<{argument}>", "exec")
    except (SyntaxError, ValueError) as error:
        raise ArgumentError(argument, text, f"is no Python: {error}") from None


def _callables(calls: Mapping[str, Any], setup: str | None) -> dict[str, Any]:
    if setup is None:
        if any(isinstance(call, str) for call in calls.values()):
            search_here()
        return {name: load(f"calls[{name!r}]", c) if isinstance(c, str) else c for name, c in calls.items()}
    names: dict[str, object] = {}
    with raised_as(lambda said: NormsuiteError(f"setup fails: {said}")):
        exec(_code("setup", setup), names)
    made = {}
    for name, statement in calls.items():
        # In a function, so that names are looked up as in a program; setup's are its globals.
        defined: dict[str, Callable[[], object]] = {}  # apart from the setup's names, one of which may be "call" too
        exec(_code(f"calls[{name!r}]", statement, as_function=True), names, defined)
        made[name] = defined["call"]
    return made


def _in_processes(job: Mapping[str, Any], count: int, failed: dict[str, str]) -> list[dict[str, list[float]]]:
    """Time the calls in new processes; one whose first call hangs or ends its process is left out of all of them."""
    import torch

    calls = dict(job["calls"])
    if job["setup"] is None:
        for name, call in calls.items():
            path = call if isinstance(call, str) else path_of(call)
            if path is None:
                raise ArgumentError(f"calls[{name!r}]", call, "has no import path that another process could use")
            calls[name] = path
    found: list[dict[str, list[float]]] = []
    env = process.variables(torch.get_num_threads())
    while len(found) < count:
        number = len(found)
        part = {
            **job,
            "calls": {name: call for name, call in calls.items() if name not in failed},
            "seconds": job["seconds"] / count,
            "seed": job["seed"] + number,
            "folders": import_folders(),
            "threads": torch.get_num_threads(),
        }
        message = _listened(part, env, failed)
        if message is not None:
            found.append(message)
        _refuse_too_few(calls, failed)
    return [{name: times for name, times in of.items() if name not in failed} for of in found]


def _listened(job: Mapping[str, Any], env: Mapping[str, str], failed: dict[str, str]) -> dict[str, list[float]] | None:
    """Return the times of one process, or None where a first call ended it, which is noted under its name.

    Raises:
        NormsuiteError: it failed, hung or ended in the setup, or while the calls were timed in turn: by which of them
            is not known.
    """
    from ..targets.messages import error_of_message  # with torch

    at: str | None = None
    stage, how = "the setup", "ends the process"

    def limit_s(message: dict[str, Any]) -> float:
        return LIMIT_S if message.get("first") is not None else TIMING_LIMIT_S

    with process.fresh(["-m", "normsuite.versus.worker"], env) as worker:
        try:
            for message in listening.heard(worker, dict(job), first_s=SETUP_LIMIT_S, limit_s=limit_s):
                if "first" in message:
                    at, stage = message["first"], "timing the calls"
                failed |= message.get("failed", {})
                if "error" in message:
                    raise error_of_message(message)
                if "times" in message:
                    return dict(message["times"])
        except listening.Ended as ended:
            how = ended.how(how)
    if at is None:
        raise NormsuiteError(f"{stage} {how}")
    failed[at] = how
    return None


def _environment(device: str) -> dict[str, Any]:
    from ..measure import environment

    return {**environment.timed_on(device), "written": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
