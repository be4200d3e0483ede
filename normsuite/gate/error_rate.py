"""Compare how well two versions learn: each trains its own small network on its own digits, with the same seeds.

A run is what asv tracks too: one short epoch on MNIST, in a process of one thread and one version, `python -m
normsuite.gate.error_rate`. No time is taken, so that there is a process on each core.
"""

import importlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import torch

from ..errors import ArgumentError, one_line
from ..measure import listening, process
from ..records import provenance
from ..targets.target import Target
from . import sides
from .decide import FAILING
from .sides import MEASURING, SIDES
from .trees import Tree

TRAIN_SIZE, BATCH_SIZE = 9_600, 48
"""200 steps: with half as many the norms that start slowly are still at chance."""

RUN_LIMIT_S = 900.0
"""A run of seconds that takes longer hangs, and would keep every other gate waiting."""

TRIES = 2
"""A norm at which a version's processes ended in so many rounds is one that this version cannot train."""

NormSeed = tuple[str, int]
"""A norm and a seed."""


def measure(
    trees: Mapping[str, Tree],
    norms: Sequence[str],
    seeds: int,
    *,
    pythons: Mapping[str, str] | None = None,
    targets: Mapping[str, Target] | None = None,
    on_run: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[tuple[str, dict]]:
    """Yield each norm, once it is trained, with the error rates of "base" and "head", one a seed.

    Of a version that cannot train it there are none, and under "absent" the reason.

    Args:
        trees: of the two sides.
        norms: names.
        seeds: how many.
        pythons: for each side another interpreter than this one.
        targets: those of the norms that are targets, by name: each version's is trained in this package's study.
        on_run: told how many runs of how many are done.

    Raises:
        ArgumentError: fewer than two seeds.
    """
    if seeds < 2:
        raise ArgumentError("seeds", seeds, "must be at least 2, since one says nothing of the spread")
    share_out = partial(_shares, trees=trees, pythons=pythons or {}, targets=targets or {})
    return _measured(share_out, norms, seeds, on_run)


def _measured(
    share_out: Callable[[Mapping[str, Sequence[NormSeed]]], Sequence["_Share"]],
    norms: Sequence[str],
    seeds: int,
    on_run: Callable[[int, int], None],
) -> Iterator[tuple[str, dict]]:
    todo: dict[str, list[NormSeed]] = {
        side: [(norm, seed) for norm in norms for seed in range(seeds)] for side in SIDES
    }
    found: dict[str, dict] = {norm: {} for norm in norms}  # of those that are not yielded yet

    def finished() -> Iterator[tuple[str, dict]]:
        open_norms = {norm for of_side in todo.values() for norm, _ in of_side}
        for norm in [norm for norm in found if norm not in open_norms]:
            yield norm, _by_seed(found.pop(norm))

    deaths: Counter[tuple[str, str | None]] = Counter()
    done, of = 0, len(SIDES) * len(norms) * seeds
    while any(todo.values()):
        shares = share_out(todo)
        for share, message in _trained(shares):
            norm, seed = message["run"]
            todo[share.side].remove((norm, seed))
            if message["absent"] is None:
                found[norm].setdefault(share.side, {})[seed] = message["rate"]
            else:
                found[norm].setdefault("absent", {})[share.side] = message["absent"]
            on_run(done := done + 1, of)
            yield from finished()
        ended = {(s.side, s.at): s.died for s in shares if s.died is not None and set(s.runs) & set(todo[s.side])}
        deaths.update(ended.keys())
        for (side, at), died in ended.items():
            if deaths[side, at] < TRIES:
                continue
            when = "before they trained anything" if at is None else "while they trained it"
            unfinished = {norm for norm, _ in todo[side]}
            for norm in unfinished if at is None else unfinished & {at}:
                reason = f"{FAILING}processes ended {when}, in {TRIES} rounds ({died})"
                found[norm].setdefault("absent", {})[side] = reason
                todo[side] = [run for run in todo[side] if run[0] != norm]
        yield from finished()


def _by_seed(of_norm: Mapping[str, dict]) -> dict:
    """Return a norm's rates of each side in the order of the seeds; none of a side that could not train it."""
    absent = of_norm.get("absent", {})
    rates = {
        side: [of_norm[side][seed] for seed in sorted(of_norm[side])]
        for side in SIDES
        if side in of_norm and side not in absent
    }
    return {**rates, "absent": absent} if absent else rates


@dataclass
class _Share:
    """The runs of one process, and how it ended, at which norm, where that was before its time."""

    side: str
    folder: str
    runs: Sequence[NormSeed]
    python: str
    targets: Mapping[str, dict]
    died: str | None = None
    at: str | None = None


def _shares(
    todo: Mapping[str, Sequence[NormSeed]],
    trees: Mapping[str, Tree],
    pythons: Mapping[str, str],
    targets: Mapping[str, Target],
) -> list[_Share]:
    """Return what is left to do, cut into a share for each process that can run at once."""
    of_each = max(1, provenance.usable_cores() // len(SIDES))
    described = {name: target.as_dict() for name, target in targets.items()}
    return [
        _Share(side, str(trees[side].folder), runs[part::of_each], pythons.get(side, sys.executable), described)
        for part in range(of_each)
        for side, runs in todo.items()
        if runs[part::of_each]
    ]


def _trained(shares: Sequence[_Share]) -> Iterator[tuple[_Share, dict]]:
    """Yield each run of all shares as it is done, in processes side by side."""
    with ExitStack() as stack:
        said = [_listen(share, one) for share in shares if (one := _start(share, stack)) is not None]
        for heard in itertools.zip_longest(*said):  # in turn: what is not listened to yet waits in its pipe
            yield from (found for found in heard if found is not None)


def _start(share: _Share, stack: ExitStack) -> process.Process | None:
    """Start the process of a share, which ends with the stack; where it cannot be started, the share says why."""
    environment = process.variables(1, python=share.python)
    try:
        one = stack.enter_context(process.fresh(["-m", __name__], environment, python=share.python))
    except process.Died as died:
        share.died = str(died)
        return None
    job = {"side": share.side, "folder": share.folder, "runs": share.runs, "targets": share.targets}
    with suppress(process.Died):  # `_listen` finds it ended
        one.tell({**job, "train_size": TRAIN_SIZE, "batch_size": BATCH_SIZE})
    return one


def _listen(share: _Share, one: process.Process) -> Iterator[tuple[_Share, dict]]:
    left = len(share.runs)
    try:
        # While another process is listened to, this one may have to wait: that is no silence.
        for message in listening.heard(one, None, first_s=RUN_LIMIT_S, limit_s=RUN_LIMIT_S):
            share.at = message["run"][0]
            if "rate" in message:
                left -= 1
                yield share, message
        if left:
            share.died = "exit code 0"  # before its time
    except listening.Ended as ended:
        share.died = str(ended)


def train(job: dict, emit: Callable[[dict], None]) -> None:
    """Train the runs of a process's share.

    Args:
        job: "side", "folder" of its package, "runs" (norm and seed), "train_size", "batch_size", "targets" by norm.
        emit: told each run as it begins, and then with its "rate", the share of the test digits that are wrong, or
            under "absent" why there is none.
    """
    torch.set_num_threads(1)
    digits = None
    study = cache(partial(_study, job))
    for norm, seed in job["runs"]:
        emit({"run": [norm, seed]})
        rate = absent = None
        try:
            is_target = norm in job["targets"]
            package = study(is_target)
            if norm not in package.NORMS and not is_target:
                absent = f"has no norm {norm}"
            else:
                digits = digits or package.study.digits.load()
                further = {"train_size": job["train_size"], "batch_size": job["batch_size"]}
                if is_target:
                    further["target"] = Target.from_dict(job["targets"][norm])
                run = package.study.train.Run(norm, seed, epochs=1, **further)
                rate = 1 - package.study.train.train(run, digits).epochs[-1].test_accuracy
        except Exception as error:  # of that version: a version before the study is one of them
            absent = f"{FAILING}{one_line(error)}"
        emit({"run": [norm, seed], "rate": rate, "absent": absent})


def _study(job: dict, is_target: bool) -> ModuleType:
    """Return the package whose study trains.

    For a target it is this one, with that version of the target's package; for a norm of this package it is that
    version of it.
    """
    modules = [f"{MEASURING}.{module}" for module in ("study.digits", "study.train")]
    if not is_target:
        return sides.load(Path(job["folder"]), job["side"], [MEASURING], modules, alone=True)[MEASURING]
    sys.path.insert(0, job["folder"])
    for module in modules:
        importlib.import_module(module)
    return sys.modules[MEASURING]


if __name__ == "__main__":
    process.speak(train)
