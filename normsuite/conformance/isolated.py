"""Checks done in a process of their own: a target may hang, or end the process, and the other checks are done."""

from collections.abc import Iterator, Sequence

import torch

from ..errors import ArgumentError
from ..measure import process
from ..targets.build import TargetError
from ..targets.loading import import_folders
from ..targets.messages import error_of_message
from ..targets.target import Target
from .checks import Check
from .result import FAILS, Finding, Result
from .run import expected_reason

ENDS = "the process "
"""How the finding on a target begins that hangs or ends its process."""

MOST_ENDED = 4
"""So many processes that ended in a row, each at another check, and no further check is tried."""

START_S = 60.0
"""How long a process may take to import torch and the target."""


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
    if not limit_s > 0:
        raise ArgumentError("limit", limit_s, "must be a positive number of seconds")
    described = target.as_dict()
    left = list(checks)
    ended = 0
    while left:
        if ended == MOST_ENDED:
            text = f"not tried: {ENDS}{notes[-1].partition(ENDS)[2]} at each of {MOST_ENDED} checks in a row"
            for check in left:
                yield Result(check.name, check.sentence, Finding(FAILS, text), expected_reason(target, check))
            return
        by_name = {check.name: check for check in left}
        job = {
            "target": described,
            "checks": list(by_name),
            "folders": import_folders(),
            "threads": torch.get_num_threads(),
        }
        begun: str | None = None
        with process.fresh(["-m", "normsuite.conformance.worker"], process.environment(job["threads"])) as worker:
            watch = process.Watch(worker, START_S)
            try:
                worker.tell(job)
                for message in worker.messages():
                    watch.again(limit_s)
                    if "error" in message:
                        raise error_of_message(message)
                    if "begin" in message:
                        begun = message["begin"]
                    if "result" in message:
                        begun = None
                        found = Result.from_dict(message["result"])
                        del by_name[found.check]
                        ended = 0
                        yield found
            except process.Died as died:
                if begun is None and len(by_name) == len(left):
                    raise TargetError(f"{target.title}: its process {_how(watch, died, START_S)}") from None
                notes.append(f"{begun or 'a check'}: the process {_how(watch, died, limit_s)}")
            finally:
                watch.stop()
        if begun is not None:
            check = by_name.pop(begun)
            ended += 1
            if not (notes and notes[-1].startswith(f"{begun}: ")):
                notes.append(f"{begun}: {ENDS}ended early")  # with 0, as if all were done
            text = notes[-1].partition(": ")[2]
            yield Result(check.name, check.sentence, Finding(FAILS, text), expected_reason(target, check))
        if len(by_name) == len(left):
            raise TargetError(f"{target.title}: its process ended without a word")
        left = [check for check in left if check.name in by_name]


def _how(watch: process.Watch, died: process.Died, limit_s: float) -> str:
    return f"hangs: ended after {limit_s:g} s" if watch.has_ended_it else f"ended ({died})"
