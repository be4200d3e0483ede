"""Checks done in a process of their own: a target may hang, or end the process, and the other checks are done."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from threading import TIMEOUT_MAX

import torch

from ..errors import ArgumentError
from ..measure import listening, process
from ..targets.build import TargetError
from ..targets.loading import import_folders
from ..targets.messages import error_of_message
from ..targets.target import Target
from .checks import Check
from .result import DIFFERS, FAILS, Finding, Result
from .run import expected_reason, is_declared, judged

ENDS = "the process "
"""How a text begins, or goes on, that says how a process ended."""

MOST_ENDED = 4
"""Processes that end in a row, each at another check, after which no further check is tried."""

START_S = 60.0
"""How long a process may take, at least, to import torch and the target."""


def results(target: Target, checks: Sequence[Check], *, limit_s: float, notes: list[str]) -> Iterator[Result]:
    """Run those checks on a target, in a new process after each check that hung or ended it.

    Args:
        target: with an import path.
        checks: in this order.
        limit_s: how long one may take.
        notes: gets a line for each process that ended.

    Raises:
        NormsuiteError: the target cannot be made, as `build` says it, or its process does not start.
    """
    if not 0 < limit_s <= TIMEOUT_MAX:
        raise ArgumentError("limit_s", limit_s, f"must be a positive number of seconds up to {TIMEOUT_MAX:.0f}")
    left = list(checks)
    ended = 0
    while left:
        if ended == MOST_ENDED:
            text = f"not tried: {ENDS}{notes[-1].partition(ENDS)[2]} at each of {MOST_ENDED} checks in a row"
            for check in left:
                undeclared = Finding(DIFFERS, f"not declared, and {text}")
                yield _result(target, check, Finding(FAILS, text) if is_declared(target, check) else undeclared)
            return
        by_name = {check.name: check for check in left}
        begun = None
        with closing(_messages(target, list(by_name), limit_s, notes)) as messages:
            for message in messages:
                begun = message.get("begin")
                if "result" in message:
                    found = Result.from_dict(message["result"])
                    del by_name[found.check]
                    ended = 0
                    yield found
        if begun is not None:
            check = by_name.pop(begun)
            ended += 1
            if not (notes and notes[-1].startswith(f"{begun}: ")):
                notes.append(f"{begun}: {ENDS}ended early")  # with 0, as if all were done
            finding = Finding(FAILS, notes[-1].partition(": ")[2])
            yield _result(target, check, judged(target, check, finding))
        if len(by_name) == len(left):
            raise TargetError(f"{target.title}: its process ended without a word")
        left = [check for check in left if check.name in by_name]


def _messages(target: Target, checks: Sequence[str], limit_s: float, notes: list[str]) -> Generator[dict, None, None]:
    """Yield the messages of a process that does those checks: "begin" with a check's name, and then its "result".

    Raises:
        NormsuiteError: the target cannot be made, or the process ends before a check has begun.
    """
    threads = torch.get_num_threads()
    begun, said = None, False
    with process.fresh(["-m", "normsuite.conformance.worker"], process.variables(threads)) as worker:
        job = {"target": target.as_dict(), "checks": checks, "folders": import_folders(), "threads": threads}
        try:
            for message in listening.heard(worker, job, first_s=max(START_S, limit_s), limit_s=limit_s):
                if "error" in message:
                    raise error_of_message(message)
                begun, said = message.get("begin"), True
                yield message
        except listening.Ended as ended:
            if not said:
                raise TargetError(f"{target.title}: its process {ended.how('ended')}") from None
            notes.append(f"{begun or 'a check'}: the process {ended.how('ended')}")


def _result(target: Target, check: Check, finding: Finding) -> Result:
    return Result(check.name, check.sentence, finding, expected_reason(target, check))
