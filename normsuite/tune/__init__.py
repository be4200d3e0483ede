"""Measure this processor in some minutes: from which sizes on the kernels and non-temporal stores pay here.

The result goes to the user's cache, where `tunings` finds it. Imports no torch before it measures.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

BUDGET_S = 165.0
"""Seconds after which no further entry is begun."""


SILENT_S = 600.0
"""How long the measuring process may take for one entry, which kernels may be compiled for."""

INTERRUPTED = "it was interrupted"
"""The reason of an early end by Ctrl-C."""


@dataclass(frozen=True)
class Tuned:
    """The result of a tuning.

    Attributes:
        path: where it was stored; None where nothing was measured, or the user has no cache that can be written to.
        text: the table, as TOML.
        measured: how many entries (norm, layout and length) were measured now.
        known: how many were measured, now or by an earlier tuning that still holds; the others have the sizes of the
            table that holds without one.
        entries: how many there are.
        streaming: from how many bytes on non-temporal stores pay, forward and backward.
        streaming_measured: whether that was measured; else it is that of the other table.
        ended: why the measurement ended early, other than for the time; None where it did not.
    """

    path: Path | None
    text: str
    measured: int
    known: int
    entries: int
    streaming: dict[str, float]
    streaming_measured: bool
    ended: str | None = None

    @property
    def has_measured(self) -> bool:
        """Return whether anything was measured."""
        return self.measured > 0 or self.streaming_measured


@dataclass
class _Found:
    """The messages of the measuring process."""

    rows: list[dict] = field(default_factory=list)
    entries: set[str] = field(default_factory=set)
    streaming: dict[str, float] | None = None


def tune(progress: Callable[[int, int], None] = lambda done, of: None, *, budget_s: float = BUDGET_S) -> Tuned:
    """Measure in a fresh process, and store the table.

    Entries that no earlier tuning measured come first. What was measured is stored, too, where the user or the system
    ends the process early.

    Args:
        progress: called with the entries that are done and their number.
        budget_s: seconds after which no further entry is begun.
    """
    import torch

    from .. import tunings
    from ..measure import listening, process
    from . import crossover

    threads, own = torch.get_num_threads(), tunings.own()
    earlier = frozenset() if own is None else own.entries
    job = {"threads": threads, "budget_s": budget_s, "earlier": sorted(earlier)}
    number = sum(1 for _ in crossover.entries())
    found, ended = _Found(), None
    progress(0, number)
    try:
        command, environment = ["-m", f"{__name__}.worker"], process.variables(threads)
        for message in listening.messages(command, job, environment, first_s=SILENT_S, limit_s=SILENT_S):
            if (pays := message.get("streaming")) is not None:
                found.streaming = {way: tunings.NEVER if size is None else size for way, size in pays.items()}
            elif "rows" in message:
                found.rows += message["rows"]
                found.entries.add(message["entry"])
                progress(len(found.entries), number)
    except process.Died as died:
        ended = str(died)
    except KeyboardInterrupt:
        ended = INTERRUPTED
    return _stored(found, earlier, number, ended)


def _stored(found: _Found, earlier: frozenset[str], number: int, ended: str | None) -> Tuned:
    """Store the table of what was measured, completed by the one in use, unless nothing was measured."""
    import torch

    from .. import tunings
    from ..machine import processor
    from . import crossover, tables, worker

    otherwise = tunings.own() or tunings.without_own()  # what was measured before is not lost where time runs out
    pays = dict(otherwise.streaming)
    for way, least in (found.streaming or {}).items():
        # That they do not pay at the sizes that were measured says nothing of larger ones.
        pays[way] = pays[way] if least == tunings.NEVER and pays[way] > worker.LARGEST_STREAMED else least
    entries = earlier | found.entries
    text = tables.as_toml(
        processor.this(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        sizes=tables.completed(crossover.table(found.rows), otherwise.sizes, crossover.tried(found.rows)),
        streaming=pays,
        entries=entries,
        of=number,
    )
    measured = len(found.entries)
    tuned = Tuned(None, text, measured, len(entries), number, pays, found.streaming is not None, ended)
    return replace(tuned, path=tunings.store(text)) if tuned.has_measured else tuned
