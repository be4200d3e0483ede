"""`normsuite tune`: measure from which sizes on the kernels win here."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from ..errors import NormsuiteError
from .options import Json, Threads
from .output import interrupted, line, note, progress_bar, write_json

if TYPE_CHECKING:
    from ..tune import Tuned


def tune(threads: Threads = None, to: Json = None) -> None:
    """Measure from which sizes on our kernels are faster than torch's on this processor (3 minutes), for `auto`.

    The table goes to the user's cache and holds for this processor, number of threads, version of torch, Numba and the
    kernels; `normsuite doctor` says which one is in use. A further run begins with what the first had no time for.
    """
    import torch

    from .. import tune as measuring
    from ..backends import why_not_loaded
    from ..files import caches

    if threads is not None:  # a table holds for the number that torch has
        torch.set_num_threads(threads)
    if (absent := why_not_loaded("numba")) is not None:
        raise NormsuiteError(f"there are no kernels to measure: the numba backend {absent}")
    from ..backends import numba

    if (slow := numba.why_slow()) is not None:
        raise NormsuiteError(f"`auto` takes torch's calls here, whatever is measured: {slow}; --threads 1 measures one")
    if to is None and caches.folder("tuned") is None:
        raise NormsuiteError("the user's cache, where `auto` would find the table, cannot be written to")
    bar = progress_bar("entries")
    task = bar.add_task("measuring")
    with bar:
        found = measuring.tune(lambda done, of: bar.update(task, completed=done, total=of))
    if to is not None:
        write_json({**asdict(found), "path": found.path and str(found.path)}, to)
    if to != "-":
        _show(found)
    if found.ended == measuring.INTERRUPTED:
        raise interrupted("what was measured is kept" if found.path else "nothing is stored")
    if found.ended is not None:
        raise NormsuiteError(f"the measuring process ended early: {found.ended}")
    if to is None and found.path is None:
        why = "the user's cache cannot be written to" if found.has_measured else "nothing was measured in time"
        raise NormsuiteError(f"the table is not stored: {why}")


def _show(found: "Tuned") -> None:
    """Print what was measured, and where it is stored."""
    if found.known < found.entries:
        left = f"{found.entries - found.known} of {found.entries} entries"
        note(f"{left} were not measured and keep the sizes that hold without tuning; a further run begins with these")
    if not found.streaming_measured:
        note("non-temporal stores were not measured: they are as in the table that was in use")
    where = f"stored in {found.path}" if found.path else "not stored"
    line(f"{found.measured} of {found.entries} entries measured; {where}")
    for way, size in found.streaming.items():
        pays = "are not known to pay" if size == float("inf") else f"pay from {size / 2**20:.3g} MiB on"
        line(f"non-temporal stores, {way}: {pays}")


COMMANDS = (tune,)
