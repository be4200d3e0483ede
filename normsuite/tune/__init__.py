"""Measure this processor in some minutes: from which sizes on the kernels and non-temporal stores pay here.

The result goes to the user's cache, where `tuning` finds it. Imports no torch before it measures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BUDGET_S = 165.0
"""Seconds after which no further entry is begun."""


@dataclass(frozen=True)
class Tuned:
    """The result of a tuning.

    Attributes:
        path: where it was stored; None where the user has no cache that can be written to.
        text: the table, as TOML.
        measured: how many entries (norm, layout and length) were measured; the others have the sizes of the table that
            was in use.
        entries: how many there are.
        streaming: from how many bytes on non-temporal stores pay, forward and backward.
        streaming_measured: whether that was measured; else it is that of the other table.
    """

    path: Path | None
    text: str
    measured: int
    entries: int
    streaming: dict[str, float]
    streaming_measured: bool


def tune(progress: Callable[[int, int], None] = lambda done, of: None, *, budget_s: float = BUDGET_S) -> Tuned:
    """Measure in a fresh process, and store the table.

    Args:
        progress: called with the entries that are done and their number.
        budget_s: seconds after which no further entry is begun.

    Raises:
        process.Died: the measuring process ended before it should have.
    """
    import torch

    from .. import processor, tuning
    from ..measure import process
    from . import crossover, tables, worker

    threads = torch.get_num_threads()
    job = {"threads": threads, "budget_s": budget_s}
    rows, streaming, measured = [], None, 0
    entries = sum(1 for _ in crossover.entries())
    progress(0, entries)
    for message in process.messages(["-m", f"{__name__}.worker"], job, process.environment(threads)):
        if (pays := message.get("streaming")) is not None:
            streaming = {way: tuning.NEVER if size is None else size for way, size in pays.items()}
        elif "rows" in message:
            rows += message["rows"]
            measured += 1
            progress(measured, entries)
    otherwise = tuning.own() or tuning.without_own()  # what was measured before is not lost where time runs out
    sizes = tables.completed(crossover.table(rows), otherwise.sizes, up_to=worker.SIZES[-1])
    pays = dict(otherwise.streaming) if streaming is None else streaming
    text = tables.as_toml(processor.this(), threads=threads, torch=torch.__version__, sizes=sizes, streaming=pays)
    path = tuning.store(text)
    return Tuned(path, text, measured, entries, pays, streaming is not None)
