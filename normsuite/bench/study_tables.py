"""Tables of the study's training time. Imports no torch."""

from collections.abc import Mapping

from ..presentation import text
from ..presentation.table import Table
from ..statistics import Interval

COMMAND = "normsuite bench-study"


def _written(ratio: Interval) -> str:
    return text.interval(ratio, text.ratio_of_times)


def steps(found: Mapping[str, Mapping[str, Interval]]) -> Table:
    """Return a training step's time over that with torch's calls.

    Args:
        found: ratios by norm ("all" for all of them) and implementation.
    """
    names = list(found["all"])
    rows = [(norm, *(_written(of[name]) for name in names)) for norm, of in found.items()]
    title = "A training step of the study: time over that with torch's calls [95 % interval]"
    return Table(title, ("norm", *names), rows, COMMAND)


def throughput(speedups: Mapping[str, Interval], case: Mapping, threads: int) -> Table:
    """Return the digits per second of a whole study over those of a tutorial's plain loop.

    Args:
        speedups: by the way in which the study is run.
        case: of the record.
        threads: of one process, or processes of one thread.
    """
    ways = {
        "one": f"one process, {text.counted(threads, 'thread')}",
        "sweep": f"as the sweep runs it, a process of one thread for each of {text.counted(threads, 'core')}",
    }
    rows = [(said, _written(speedups[way])) for way, said in ways.items()]
    title = f"Digits per second of a whole study, {case['epochs']} epochs a run, norms by {case['backend']}"
    return Table(title, ("by", "times the plain loop's [95 % interval]"), rows, COMMAND)
