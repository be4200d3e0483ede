"""`normsuite tune`."""

from dataclasses import asdict

from ..errors import NormsuiteError
from .options import Json, Threads
from .shared import line, note, progress_bar, write_json


def tune(threads: Threads = None, to: Json = None) -> None:
    """Measure from which sizes on our kernels are faster than torch's on this processor (3 minutes), for `auto`.

    The table goes to the user's cache and holds for this processor, number of threads, version of torch and of the
    kernels; `normsuite doctor` says which one is in use.
    """
    import torch

    from .. import tune as tuning
    from ..measure import process

    if threads is not None:  # a table holds for the number that torch has
        torch.set_num_threads(threads)
    bar = progress_bar("entries")
    task = bar.add_task("measuring")
    try:
        with bar:
            found = tuning.tune(lambda done, of: bar.update(task, completed=done, total=of))
    except process.Died as died:
        raise NormsuiteError(f"nothing was stored: {died}") from died
    if found.measured < found.entries:
        left = f"{found.entries - found.measured} of {found.entries} entries"
        note(f"the time ended before {left} were measured: they have the sizes of the table that was in use")
    if not found.streaming_measured:
        note("the time ended before non-temporal stores were measured: they are as in the table that was in use")
    if to is not None:
        write_json({**asdict(found), "path": found.path and str(found.path)}, to)
    if to == "-":
        return
    if found.path is None and to is None:
        raise NormsuiteError(
            "the user's cache cannot be written to: the table is not stored; --json writes it elsewhere"
        )
    where = f"stored in {found.path}" if found.path else "not stored: the user's cache cannot be written to"
    line(f"{found.measured} of {found.entries} entries measured; {where}")
    for way, size in found.streaming.items():
        pays = "do not pay" if size == float("inf") else f"pay from {size / 2**20:.3g} MiB on"
        line(f"non-temporal stores, {way}: {pays}")


COMMANDS = (tune,)
