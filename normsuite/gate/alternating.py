"""Two processes that each hold one version, timed against each other as two calls of one process are.

Samples come in blocks A B B A, so that a machine whose speed drifts slows both alike.

The parent says whose sample is next; a process says what it took. Where memory lies and how threads are placed still
differs between the two, as between any two processes, and is averaged over many of them.
"""

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch

from ..machine.garbage import uncollected
from ..measure import clock, pairs
from ..measure.clock import Call, Timer
from ..measure.prepared import PreparedTask
from ..measure.task import Task

WARM_S = 20e-3
"""Seconds of untimed calls before each sample: the other process had the caches, its threads spin for some milliseconds
behind its last call before they sleep, and the system takes a while to spread threads over the cores again. With 5 ms
the ratios of pairs of processes had deviations of 4 to 10 % in four cells, with 20 ms 5 to 7 %."""


class AskedTimer(Timer):
    """A cell's call in another process, which takes a sample when it is asked.

    Args:
        ask: sends a line, and returns the answer.
        opened: what the process said when it opened the cell.
    """

    def __init__(self, ask: Callable[[dict], dict], opened: Mapping):
        self._ask = ask
        self.calls, self.shortest_s, self.tries = opened["calls"], opened["shortest_s"], opened["tries"]
        self.most = float(opened["most"])

    def sample(self, repeat):
        """Return the seconds of one call, from a sample of so many repetitions in the other process."""
        return self._ask({"sample": repeat})["seconds"]

    def once(self):
        """Run one untimed repetition in the other process."""
        return self._ask({"warm": True})


def compare(
    asks: Sequence[Callable[[dict], dict]], place: int, *, blocks: int, longest_s: float, draw: random.Random
) -> dict[str, object]:
    """Time a cell in two processes, and return a message like that of a process that holds both versions.

    Args:
        asks: of the process that holds base, and of the one that holds head.
        place: of the cell in the job of both.
        blocks, longest_s, draw: as `pairs.compare` takes them.
    """
    begun = time.perf_counter()
    opened = [ask({"cell": place}) for ask in asks]
    if absent := {side: why for of_side in opened for side, why in of_side.get("absent", {}).items()}:
        found: dict[str, object] = {"absent": absent}
    else:
        base, head = (AskedTimer(ask, of_side) for ask, of_side in zip(asks, opened, strict=True))
        pair = pairs.compare(base, head, blocks=blocks, longest_s=longest_s, draw=draw)
        found = {"log_ratio": pair.log_ratio, "base_s": pair.base_s, "blocks": pair.blocks}
    return {"cell": place, "spent_s": time.perf_counter() - begun, **found}


def answer(
    open_cell: Callable[[int], tuple[dict[str, list[Call]], dict[str, str], Task | PreparedTask]],
    emit: Callable[[dict], None],
) -> None:
    """Time the samples that standard input asks for, until it ends.

    Args:
        open_cell: returns a cell's calls of the one version that is here, why it is absent, and its task.
        emit: takes the answers.
    """
    with ExitStack() as last, uncollected():
        timer: Timer = _Closed()
        for asked in _lines():
            if "cell" in asked:
                last.close()
                gc.collect(0)
                calls, absent, task = open_cell(asked["cell"])
                if absent:
                    emit({"absent": absent})
                    continue
                last.enter_context(torch.set_grad_enabled(task.gradients))
                clocked = clock.timers(calls, device=task.device, host_time=task.host_time)
                ((_, timer),) = last.enter_context(clocked).items()
                of_timer = {name: getattr(timer, name) for name in ("calls", "most", "shortest_s", "tries")}
                emit({**of_timer, "most": str(timer.most)})
            elif "sample" in asked:
                clock.warm(timer.once, WARM_S)
                emit({"seconds": timer.sample(asked["sample"])})
            else:
                timer.once()
                emit({})


class _Closed(Timer):
    """The timer of no cell, before one is opened."""

    def sample(self, repeat):
        raise RuntimeError("no cell is open")

    def once(self):
        raise RuntimeError("no cell is open")


def _lines() -> Iterator[dict]:
    for line in sys.stdin:
        yield json.loads(line)
